"""Every step of the DISC21 experiment at its full count: time and memory.

Run: OMP_WAIT_POLICY=PASSIVE nice python benchmarks/full_count.py --work /tmp/full
(2 million names of a few tiny images, a million synthetic features of 512 values, 50,000 queries
against IVF4096,PQ8x8; about 12 GB in --work.)

No image goes through an extractor. Each step runs in its own process, so its peak memory is its
own; a step that is in WORK/results.json is not repeated. Prints the table of docs/reproduce.md.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from synthetic import blocks, copies

FACTORY = "IVF4096,PQ8x8np"  # "np" leaves out an annealing that only polysemous search wants.
DIMENSION = 512
MATCHING = 10_000
NEIGHBOURS = 100
LINKS_PER_FILE = 20_000  # ext4 allows 65,000 names of a file.


def files(options: argparse.Namespace) -> str:
    """Names as DISC21 has them; 50,000 queries, of which 10,000 have a reference."""
    root = options.work / "disc21"
    for folder, letter in (("train", "T"), ("references", "R")):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(options.count):
            path = f"{root}/{folder}/{letter}{number:06d}.jpg"
            if number % LINKS_PER_FILE == 0:
                pixels = np.full((16, 16, 3), number % 251, np.uint8)
                Image.fromarray(pixels).save(path)
                first = path
            else:
                os.link(first, path)
    rows = [f"Q{query:05d},R{query * 97:06d}\n" for query in range(options.matching)]
    rows += [f"Q{query:05d},\n" for query in range(options.matching, options.queries)]
    (root / "dev_queries_groundtruth.csv").write_text("".join(rows))
    return f"{2 * options.count:,} names"


def prepare_disc(options: argparse.Namespace) -> str:
    from activeindex.datasets.disc import prepare_disc

    drawn = options.queries - options.matching
    made = prepare_disc(options.work / "disc21", options.work / "disc", queries=drawn)
    return ", ".join(f"{folder.count:,}" for folder in made) + " links"


def list_names(options: argparse.Namespace) -> str:
    from activeindex.images.folder import fingerprint, list_images

    folder = options.work / "disc" / "references_990k"
    paths = list_images(folder)
    fingerprint(folder, paths)
    return f"{len(paths):,} images listed and their sizes and times hashed"


def write_features(options: argparse.Namespace) -> str:
    """Write features as ``extract_fts`` does when an extractor has computed them."""
    from activeindex.extractors.feature_files import write_features
    from activeindex.identity import ExtractorIdentity
    from activeindex.runtime.journal import Journal

    folder = options.work / "fts"
    identity = {"extractor": ExtractorIdentity("synthetic", "0", DIMENSION).as_json()}
    with Journal(folder, "fts", identity, ("rows", "filenames.txt")) as journal:
        for start, values in blocks(options.count, DIMENSION):
            journal.write("rows", values.tobytes())
            names = (f"R{number:06d}.jpg\n" for number in range(start, start + len(values)))
            journal.write("filenames.txt", "".join(names).encode())
            journal.commit({"images": len(values)})
        write_features(folder / "fts.pt", journal.growing("rows"), (options.count, DIMENSION))
        journal.finish({"count": options.count}, drop=("rows",))
    return f"{options.count:,} features, {(folder / 'fts.pt').stat().st_size / 1e9:.2f} GB"


def read_features(options: argparse.Namespace) -> str:
    from activeindex.extractors.feature_files import read_features

    file = read_features(options.work / "fts" / "fts.pt", "fts")
    file.hash()
    return f"{len(file.values):,} features checked and hashed"


def train(options: argparse.Namespace) -> str:
    from activeindex.extractors.feature_files import read_features
    from activeindex.indexing.artefact import load_or_train

    part = options.work / "training.npy"
    values = read_features(options.work / "fts" / "fts.pt", "fts").values
    np.save(part, values[: options.training])
    load_or_train(options.work / "index", read_features(part, "training"), FACTORY, "L2")
    return f"{FACTORY} on {options.training:,} features"


def fill(options: argparse.Namespace) -> str:
    import faiss

    from activeindex.extractors.feature_files import read_features
    from activeindex.indexing.artefact import TrainedIndex
    from activeindex.indexing.search import add

    index = TrainedIndex.read(options.work / "index").index
    add(index, read_features(options.work / "fts" / "fts.pt", "fts").values)
    faiss.write_index(index, str(options.work / "filled.index"))
    size = (options.work / "filled.index").stat().st_size
    return f"{index.ntotal:,} codes, {size / index.ntotal:.1f} bytes each"


def detect(options: argparse.Namespace) -> str:
    """The queries against the index, and what is written of each."""
    from activeindex.evaluation.copy_detection import DetectionResult
    from activeindex.evaluation.csv_files import DETECTION_HEADER, format_row
    from activeindex.extractors.feature_files import read_features
    from activeindex.indexing.reading import read_index
    from activeindex.indexing.search import search, set_nprobe

    index = read_index(options.work / "filled.index")
    set_nprobe(index, 1)
    values = read_features(options.work / "fts" / "fts.pt", "fts").values
    seconds = 0.0
    with (options.work / "icd_df.csv").open("w") as out:
        out.write(DETECTION_HEADER)
        for start in range(0, options.queries, 1000):
            truth = np.arange(start, min(start + 1000, options.queries))
            queries = copies(values[truth], seed=start)
            if start >= options.matching:  # Of nothing that is stored.
                queries = copies(values[truth], seed=start, noise=50.0)
                truth = np.full(len(truth), -1)
            before = time.perf_counter()
            found = search(index, queries, NEIGHBOURS)
            seconds += time.perf_counter() - before
            for row, original in enumerate(truth.tolist()):
                result = DetectionResult.from_search(
                    start // 1000, original, "auto", found.distances[row], found.ids[row]
                )
                out.write(format_row(result))
    each = 1000 * seconds / options.queries
    return f"{options.queries:,} queries, {each:.2f} ms each for the search"


def evaluate(options: argparse.Namespace) -> str:
    from activeindex.evaluation.copy_detection import ScoredPairs, micro_average_precision
    from activeindex.evaluation.csv_files import read_detection

    rows = read_detection(options.work / "icd_df.csv")
    pairs = ScoredPairs.from_rows(rows, "L2")
    return f"{len(pairs.positive):,} pairs, µAP {micro_average_precision(pairs):.3f}"


STEPS = (
    files,
    prepare_disc,
    list_names,
    write_features,
    read_features,
    train,
    fill,
    detect,
    evaluate,
)


def run_step(options: argparse.Namespace) -> None:
    step = next(step for step in STEPS if step.__name__ == options.step)
    start = time.perf_counter()
    what = step(options)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    done = {
        "what": what,
        "wall": time.perf_counter() - start,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss // 1024,
    }
    print(json.dumps(done))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--training", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=50_000)
    parser.add_argument("--matching", type=int, default=MATCHING)
    parser.add_argument("--step", choices=[step.__name__ for step in STEPS])
    options = parser.parse_args()
    if options.step is not None:
        run_step(options)
        return
    options.work.mkdir(parents=True, exist_ok=True)
    path = options.work / "results.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for step in STEPS:
        if step.__name__ not in results:
            command = [sys.executable, *sys.argv, "--step", step.__name__]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            results[step.__name__] = json.loads(done.stdout.splitlines()[-1])
            path.write_text(json.dumps(results, indent=1))
            print(step.__name__, results[step.__name__], file=sys.stderr, flush=True)
    print("| step | what | wall, s | CPU, s | peak memory, MB |\n|---|---|---|---|---|")
    for name, done in results.items():
        print(
            f"| {name} | {done['what']} | {done['wall']:.0f} | {done['cpu']:.0f} | "
            f"{done['peak']:,} |"
        )


if __name__ == "__main__":
    main()
