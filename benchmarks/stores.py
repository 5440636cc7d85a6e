"""Time, disk and memory of both kinds of store at a million images.

Run: OMP_WAIT_POLICY=PASSIVE nice python benchmarks/stores.py --work /tmp/stores
(1,000,000 synthetic features of 512 values; about 8 GB in --work.)

Each stage runs in its own process; a stage that is in WORK/results.json is not repeated. Prints the
table of docs/scale.md. Queries are synthetic copies of stored images. "CPU" is user and system time
of the process and its threads, which says more than wall time on a shared machine.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from synthetic import BLOCK, block, blocks, copies

STAGES = ("train", "fill:faiss", "fill:lance", "search:faiss", "search:lance", "worker")
NPROBES = (1, 16)
REFINE = 10
K = 10


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def timed(work: Callable[[], Any]) -> dict[str, float]:
    wall, before = time.perf_counter(), cpu()
    work()
    return {"wall": time.perf_counter() - wall, "cpu": cpu() - before}


def peak() -> int:
    """Largest resident memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def address(options: argparse.Namespace, engine: str) -> str:
    return f"{engine}:{'//' if engine == 'lance' else ''}{options.work / engine}"


def train(options: argparse.Namespace) -> dict[str, Any]:
    from activeindex.extractors.feature_files import read_features
    from activeindex.indexing.artefact import load_or_train

    training = options.work / "training.npy"
    # Of other images than those that are stored, from the same clusters.
    parts = [block(10_000 + n, options.dimension) for n in range(-(-options.training // BLOCK))]
    np.save(training, np.concatenate(parts)[: options.training])
    features = read_features(training, "training")
    # "np" leaves out an annealing of the codebook that only polysemous search wants.
    index = f"IVF{options.nlist},PQ8x8np"
    return timed(lambda: load_or_train(options.work / "quantiser", features, index, "L2"))


def fill(options: argparse.Namespace, engine: str) -> dict[str, Any]:
    from activeindex.indexing.artefact import TrainedIndex
    from activeindex.stores.ingest import NewImages
    from activeindex.stores.store import Store

    trained = TrainedIndex.read(options.work / "quantiser")
    total = {"wall": 0.0, "cpu": 0.0}
    with Store.create(address(options, engine), trained) as store:
        for start, values in blocks(options.count, options.dimension):
            names = [f"image-{number:09d}.jpg" for number in range(start, start + len(values))]
            spent = timed(partial(store.add, NewImages(names, values)))
            total = {name: total[name] + spent[name] for name in total}
            print(f"{engine}: {start + len(values)} added", file=sys.stderr, flush=True)
        compacting = timed(store.compact)
    size = folder_size(options.work / engine)
    codes = sum(folder_size(path) for path in (options.work / engine).rglob("_indices"))
    return {"add": total, "compact": compacting, "bytes": size, "codes": codes, "peak": peak()}


def search(options: argparse.Namespace, engine: str) -> dict[str, Any]:
    from activeindex.stores.store import Store

    stored = block(0, options.dimension)[: options.queries]
    queries = copies(stored)
    result: dict[str, Any] = {}
    opened: list[Store] = []
    result["open"] = timed(lambda: opened.append(Store(address(options, engine))))
    store = opened[0]
    result["first"] = timed(lambda: store.search_features(queries[:1], K))
    answers = {}
    for name, nprobe, refine in [
        *((f"nprobe {n}", n, 0) for n in NPROBES),
        (f"nprobe 16, refine {REFINE}", 16, REFINE),
    ]:
        for query in queries[-50:]:  # Lists that are read from the disk once.
            store.search_features(query[None], K, nprobe=nprobe, refine=refine)
        seconds, found, before = [], [], cpu()
        for query in queries:
            start = time.perf_counter()
            found.append(store.search_features(query[None], K, nprobe=nprobe, refine=refine))
            seconds.append(time.perf_counter() - start)
        ids = np.concatenate([part.ids for part in found])
        answers[name] = ids, np.concatenate([part.distances for part in found])
        result[name] = {
            "p50": float(np.percentile(seconds, 50) * 1000),
            "p99": float(np.percentile(seconds, 99) * 1000),
            "cpu": (cpu() - before) * 1000 / len(queries),
            "recall": float((ids[:, 0] == np.arange(len(ids))).mean()),
        }
    np.savez(
        options.work / f"answers-{engine}.npz",
        **{f"{name}/{part}": values for name, pair in answers.items()
           for part, values in zip(("ids", "distances"), pair, strict=True)},
    )  # fmt: skip
    return {**result, "peak": peak()}


def worker(options: argparse.Namespace) -> dict[str, Any]:
    """Memory of a process that activates images, besides the extractor."""
    from activeindex.indexing.artefact import TrainedIndex

    before = resident()
    quantiser = TrainedIndex.read(options.work / "quantiser").quantiser
    quantiser.reconstruct(np.ones((16, options.dimension), np.float32))
    return {"before": before, "after": resident(), "file": folder_size(options.work / "quantiser")}


def resident() -> float:
    """Memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def report(options: argparse.Namespace, results: dict[str, Any]) -> str:
    count = options.count
    sides = [(results[f"fill:{engine}"], results[f"search:{engine}"]) for engine in ENGINES]
    opens = [search["open"] for _, search in sides]
    rows: list[tuple[str, list[str]]] = [
        ("add, images/s (wall)", [f"{count / f['add']['wall']:,.0f}" for f, _ in sides]),
        ("add, images per CPU second", [f"{count / f['add']['cpu']:,.0f}" for f, _ in sides]),
        ("compact, s (CPU s)",
         [f"{f['compact']['wall']:.0f} ({f['compact']['cpu']:.0f})" for f, _ in sides]),
        ("bytes per image on disk", [f"{f['bytes'] / count:,.0f}" for f, _ in sides]),
        ("of these, index files", [f"{f['codes'] / count:.1f}" for f, _ in sides]),
        ("peak memory while filling, MB", [f"{f['peak']:,}" for f, _ in sides]),
        ("open, s (CPU s)", [f"{o['wall']:.2f} ({o['cpu']:.2f})" for o in opens]),
        ("first search, s", [f"{s['first']['wall']:.2f}" for _, s in sides]),
        ("peak memory while searching, MB", [f"{s['peak']:,}" for _, s in sides]),
    ]  # fmt: skip
    for name in [f"nprobe {n}" for n in NPROBES] + [f"nprobe 16, refine {REFINE}"]:
        cells = [f"{s[name]['p50']:.2f} / {s[name]['p99']:.2f}" for _, s in sides]
        rows.append((f"search, {name}: p50 / p99, ms", cells))
        rows.append(("CPU time of one, ms", [f"{s[name]['cpu']:.2f}" for _, s in sides]))
        rows.append((f"search, {name}: R@1", [f"{s[name]['recall']:.3f}" for _, s in sides]))
    lines = ["| | faiss: | lance:// |", "|---|---|---|"]
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows]
    first, second = (np.load(options.work / f"answers-{engine}.npz") for engine in ENGINES)
    for name in [f"nprobe {n}" for n in NPROBES] + [f"nprobe 16, refine {REFINE}"]:
        ids, distances = f"{name}/ids", f"{name}/distances"
        same = (first[ids] == second[ids]).all(axis=1).mean()
        off = np.nanmax(np.abs(first[distances] - second[distances]))
        lines.append(f"{name}: top-{K} identical in both for {same:.2%} of the queries, "
                     f"distances differ by {off:.1e} at most")  # fmt: skip
    made = results["train"]
    lines.append(f"trained in {made['wall']:.0f} s ({made['cpu']:.0f} CPU s)")
    held = results["worker"]
    lines.append(
        f"activation worker: {held['before']:.0f} MB before it reads the quantiser, "
        f"{held['after']:.0f} MB with it; the artefact has {held['file'] / 1e6:.1f} MB"
    )
    return "\n".join(lines)


ENGINES = ("faiss", "lance")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--nlist", type=int, default=1024)
    parser.add_argument("--training", type=int, default=40_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--stage", choices=STAGES)
    options = parser.parse_args()
    if options.stage is not None:
        name, _, engine = options.stage.partition(":")
        stage = globals()[name]
        print(json.dumps(stage(options, engine) if engine else stage(options)))
        return
    options.work.mkdir(parents=True, exist_ok=True)
    path = options.work / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in STAGES:
        if name not in results:
            command = [sys.executable, *sys.argv, "--stage", name]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            results[name] = json.loads(done.stdout.splitlines()[-1])
            path.write_text(json.dumps(results, indent=1))
            print(name, results[name], file=sys.stderr, flush=True)
    print(report(options, results))


if __name__ == "__main__":
    main()
