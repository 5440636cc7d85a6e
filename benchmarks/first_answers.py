"""First answers: CPU time of commands that have little to do, beside the import of PyTorch.

Run from the root of the repository, with a store and what it was filled with:
    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/first_answers.py \
        --picture PICTURE --index QUANTISER --store faiss:STORE [--runs OUT_A OUT_B]

Every command is a process of its own, whose CPU seconds include those of its workers. They run in
turn, --rounds times; a cell is the median. `ratio` is over `python -c "import torch"`. The last
rows are pictures that one process activates after each other.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

import activeindex as ai

IMPORT = ["-c", "import torch"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", type=Path, required=True)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--store", required=True)
    parser.add_argument("--runs", nargs=2, default=[], help="two finished runs")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    commands = {
        "import torch": IMPORT,
        "search": [*_ACTIVEINDEX, "search", str(options.picture), "--store", options.store],
        "search, no store": [*_ACTIVEINDEX, "search", str(options.picture), "--store", "faiss:no"],
        "store info": [*_ACTIVEINDEX, "store", "info", options.store],
    }
    if options.runs:
        commands["table"] = [*_ACTIVEINDEX, "table", *options.runs]
        commands["compare"] = [*_ACTIVEINDEX, "compare", *options.runs]
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(options.rounds):
        for name, words in commands.items():
            seconds[name].append(cpu_seconds(words))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print("| command | CPU s | ratio |\n|---|---|---|")
    for name, value in medians.items():
        print(f"| {name} | {value:.2f} | {value / medians['import torch']:.2f} |")
    for name, value in zip(("first", "second", "third"), pictures(options), strict=True):
        print(f"| `activate`, {name} picture | {value:.2f} | |")


_ACTIVEINDEX = ["-m", "activeindex"]


def cpu_seconds(words: list[str]) -> float:
    """CPU seconds of ``python …`` and of the processes that it starts and waits for."""
    before = os.times()
    subprocess.run([sys.executable, *words], capture_output=True, check=False)
    after = os.times()
    user = after.children_user - before.children_user
    return user + after.children_system - before.children_system


def pictures(options: argparse.Namespace) -> list[float]:
    """CPU seconds of a picture that is activated three times in this process."""
    torch.set_num_threads(1)
    extractor, index = ai.load_extractor(), ai.as_quantiser(options.index)
    spent = []
    for _ in range(3):
        start = time.process_time()
        ai.activate(options.picture, index, extractor)
        spent.append(time.process_time() - start)
    return spent


if __name__ == "__main__":
    main()
