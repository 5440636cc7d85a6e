"""Kill commands at their renames and flushes, and take away what a power loss may take.

Run as a script: libraries are imported once, and every command runs in a fork. ``os.fsync`` is
replaced by a recorder of what is on the disk for sure: the content of a file when it was last
flushed, and the names of a folder when that was. After a *power loss* nothing else is there.
"""

import contextlib
import io
import json
import os
import pickle
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Listing = dict[str, tuple[int, bool]]
"""Inode of each name in a folder, and True for a folder."""

COMMANDS: dict[str, list[str]] = {
    "extract_fts": [
        *("extract_fts", "--data_dir", "../in", "--output_dir", "out/fts", "--batch_size", "2"),
        *("--resize_size", "64", "--workers", "0"),
    ],
    "train_index": [
        *("train_index", "out/index", "--idx_factory", "IVF4,PQ8x4np"),
        *("--fts_training_path", "../fts.npy"),
    ],
    "activate": [
        *("activate", "../in", "out", "--index", "../index", "--force", "--preset", "fast"),
        *("--iterations", "1", "--resize_size", "64", "--workers", "0"),
    ],
    "main": [
        *("main", "--data_dir", "../in", "--output_dir", "out", "--idx_dir", "out/indexes"),
        *("--idx_factory", "IVF4,PQ8x4np", "--fts_training_path", "../fts.npy"),
        *("--fts_reference_path", "../fts.npy", "--force", "--iterations", "1"),
        *("--edits", "none", "hflip", "--batch_size", "2", "--resize_size", "64"),
        *("--workers", "0", "--kneighbors", "5"),
    ],
}


class Disk:
    """What is on the disk for sure, and the moment at which the process is killed.

    Args:
        root: Folder of the outputs; empty.
        kill_at: Number of the rename or flush before which the process is killed.
        left: File that gets what is on the disk.
    """

    def __init__(self, root: Path, kill_at: int, left: Path) -> None:
        self.contents: dict[int, bytes] = {}
        self.names: dict[int, Listing] = {}
        self._left, self._kill_at, self.events = left, kill_at, 0
        self._kept: list[int] = []  # Open files, whose numbers no other file gets.
        self._flush, self._rename = os.fsync, os.replace
        for name, mine in (("fsync", self.fsync), ("replace", self.replace)):
            setattr(os, name, mine)
        os.rename = os.replace
        self.root = root.stat().st_ino

    def fsync(self, handle: int) -> None:
        self._event()
        number = os.fstat(handle).st_ino
        self._kept.append(os.dup(handle))
        if os.path.isdir(f"/proc/self/fd/{handle}"):  # noqa: PTH112
            with os.scandir(f"/proc/self/fd/{handle}") as entries:
                self.names[number] = {e.name: (e.inode(), e.is_dir()) for e in entries}
        else:
            self.contents[number] = Path(f"/proc/self/fd/{handle}").read_bytes()

    def replace(self, source: Any, target: Any, **_: Any) -> None:
        self._event()
        self._rename(source, target)

    def _event(self) -> None:
        if self.events == self._kill_at:
            self._left.write_bytes(pickle.dumps((self.root, self.names, self.contents)))
            os.kill(os.getpid(), signal.SIGKILL)
        self.events += 1


def lose_power(root: Path, left: Path) -> None:
    """Replace a folder by what was on the disk for sure."""
    top, names, contents = pickle.loads(left.read_bytes())
    shutil.rmtree(root)

    def restore(folder: Path, number: int) -> None:
        folder.mkdir()
        for name, (inside, is_folder) in names.get(number, {}).items():
            if is_folder:
                restore(folder / name, inside)
            else:
                (folder / name).write_bytes(contents.get(inside, b""))

    restore(root, top)


def in_fork(work: Callable[[], int]) -> int:
    """Run a function in a fork; its exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        try:
            code = work()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            code = 99
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run_in(root: Path, command: list[str]) -> int:
    """Run a command in a folder, its standard output unseen."""
    from activeindex.cli import run

    os.chdir(root)
    with contextlib.redirect_stdout(io.StringIO()):
        return run(command)


def files(root: Path) -> dict[str, bytes]:
    """Contents of all files but the one of durations."""
    found = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if "times.jsonl" not in name}


def campaign(base: Path, name: str, most: int) -> dict[str, Any]:
    """Kill a command at some moments, with or without the power, and repeat it.

    Args:
        base: Folder of the inputs.
        name: The command.
        most: Kills, spread evenly over the moments; 0 for both kinds at every moment.

    Returns:
        Counts, and what went wrong.
    """
    command, left = COMMANDS[name], base / "left.pickle"
    undisturbed, root = base / f"{name}_undisturbed", base / name
    undisturbed.mkdir()

    def count() -> int:
        disk = Disk(undisturbed, -1, left)
        code = run_in(undisturbed, command)
        left.write_text(str(disk.events))
        return code

    assert in_fork(count) == 0
    moments = int(left.read_text())
    chosen = [(moment, power_lost) for moment in range(moments) for power_lost in (False, True)]
    if most:
        chosen = [chosen[(2 * i + 1) * len(chosen) // (2 * most) + i % 2] for i in range(most)]
    expected, wrong, kills = files(undisturbed), [], 0
    for moment, power_lost in chosen:
        root.mkdir()

        def disturbed(moment: int = moment) -> int:
            Disk(root, moment, left)
            return run_in(root, command)

        what = f"{name} at {moment} of {moments}, {'power' if power_lost else 'process'}"
        if in_fork(disturbed) != -signal.SIGKILL:
            wrong.append(f"{what}: not killed")
        kills += 1
        if power_lost:
            lose_power(root, left)
        if code := in_fork(lambda: run_in(root, command)):
            wrong.append(f"{what}: exit code {code} afterwards")
        elif (found := files(root)) != expected:
            other = [f for f in {*found, *expected} if found.get(f) != expected.get(f)]
            wrong.append(f"{what}: {sorted(other)} differ")
        shutil.rmtree(root)
    return {"moments": moments, "kills": kills, "wrong": wrong}


def main() -> None:
    """Print the result of every command as JSON; arguments: folder of the inputs, moments each."""
    import torch

    import activeindex.activation.folder
    import activeindex.experiment.run  # noqa: F401 (imported once, before the forks)
    from activeindex.extractors.named import load_extractor

    torch.set_num_threads(1)
    load_extractor("lite0_copy", 64)
    base, most = Path(sys.argv[1]).resolve(), int(sys.argv[2])
    print(json.dumps({name: campaign(base, name, most) for name in COMMANDS}))


if __name__ == "__main__":
    main()
