"""Two checkouts side by side: start-up, and CPU time and memory of the long commands.

Run from the root of the repository, with the older release in another folder:
    git worktree add /tmp/old 800c3a4   # 0.1.0
    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/releases.py /tmp/old . \
        --pictures DISC/references --work /tmp/releases

Both run the same commands on the same pictures in turn, --rounds times, each command as a process
of its own in the environment of this one and without workers, whose CPU time the system does not
always add up. A cell is the median over the rounds: CPU seconds, and the peak memory of the largest
process. `ratio` is the second checkout's over the first's.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "--help": ["--help"],
    "main --help": ["main", "--help"],
    "extract_fts": [
        *("extract_fts", "--data_dir", "{pictures}", "--output_dir", "{out}/fts"),
        *("--workers", "0"),
    ],
    "train_index": [
        *("train_index", "{out}/index", "--fts_training_path", "{out}/fts/fts.pt"),
        *("--idx_factory", "IVF4,PQ8x4"),
    ],
    "activate": [
        *("activate", "{few}", "{out}/released", "--index", "{out}/index", "--workers", "0"),
    ],
    "main --active True": [
        *("main", "--data_dir", "{few}", "--output_dir", "{out}/run", "--idx_dir", "{out}/indexes"),
        *("--fts_training_path", "{out}/fts/fts.pt", "--fts_reference_path", "{out}/fts/fts.pt"),
        *("--idx_factory", "IVF4,PQ8x4", "--query_nonmatch_dir", "{few}", "--workers", "0"),
    ],
    "store create": ["store", "create", "faiss:{out}/store", "--index", "{out}/index"],
    "store add": ["store", "add", "faiss:{out}/store", "{out}/released"],
    "search": ["search", "{pictures}", "--store", "faiss:{out}/store", "--json", "--workers", "0"],
}
"""Commands to measure, in this order: each may use the files of those before it."""

_WATCH = """
import contextlib, ctypes, os, resource, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphaned workers count, too.
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
with contextlib.suppress(ChildProcessError):
    while True:
        os.wait()
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
sys.exit(code)
"""
"""Runs a command and prints what it and all its descendants used."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkouts", nargs=2, type=Path, metavar="CHECKOUT")
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--images", type=int, default=192, help="pictures to extract and look for")
    parser.add_argument("--activated", type=int, default=6, help="pictures to activate")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    pictures, few = _copies(options)
    figures: dict[str, list[list[tuple[float, float]]]] = {name: [[], []] for name in COMMANDS}
    for round_ in range(options.rounds):
        for name, words in COMMANDS.items():
            for side, checkout in enumerate(options.checkouts):
                out = options.work / f"out{side}"
                if name == next(iter(COMMANDS)):
                    shutil.rmtree(out, ignore_errors=True)
                places = {"pictures": pictures, "few": few, "out": out}
                filled = [word.format(**places) for word in words]
                figures[name][side].append(_measured(checkout.resolve(), filled))
                print(f"round {round_}, {name}: {figures[name][side][-1]}", file=sys.stderr)
    print("| command | CPU s | ratio | peak MB | ratio |\n|---|---|---|---|---|")
    for name, sides in figures.items():
        medians = ([statistics.median(row) for row in zip(*side, strict=True)] for side in sides)
        (old_cpu, old_peak), (new_cpu, new_peak) = medians
        print(
            f"| `{name}` | {old_cpu:.2f} → {new_cpu:.2f} | {new_cpu / old_cpu:.2f} "
            f"| {old_peak:.0f} → {new_peak:.0f} | {new_peak / old_peak:.2f} |"
        )


def _copies(options: argparse.Namespace) -> tuple[Path, Path]:
    """Two folders of links: the pictures to extract, and the few to activate."""
    names = sorted(path for path in options.pictures.iterdir() if path.is_file())
    folders = options.work / "pictures", options.work / "few"
    for folder, count in zip(folders, (options.images, options.activated), strict=True):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for path in names[:count]:
            (folder / path.name).symlink_to(path.resolve())
    return folders


def _measured(checkout: Path, words: list[str]) -> tuple[float, float]:
    """CPU seconds and peak megabytes of a command and its workers."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    command = [sys.executable, "-c", _WATCH, sys.executable, "-m", "activeindex", *words]
    done = subprocess.run(command, env=environment, cwd=checkout, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: exit code {done.returncode} in {checkout}")
    cpu, peak = done.stdout.split()
    return float(cpu), float(peak)


if __name__ == "__main__":
    start = time.monotonic()
    main()
    print(f"{time.monotonic() - start:.0f} s", file=sys.stderr)
