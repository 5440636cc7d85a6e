"""Resuming: outputs that grow by committed steps.

A long command works in steps (a batch of images). Each step appends to some files (feature rows,
CSV lines) and is then *committed*: the files are flushed to the disk and one line with their sizes
is added to the journal. After a kill at any moment, opening the journal again cuts every file back
to the sizes of the last committed step, and the command goes on with the next step; what it
produces is therefore the same as without the kill. Finishing gives the files their final names and
leaves a note of the identity, by which a finished command is known and not repeated. Two commands
do not write in one folder at a time.
"""

import contextlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from activeindex.errors import InputError
from activeindex.runtime.files import output_error, parse_json, read_json, write_json
from activeindex.runtime.locking import only_run

_SPEAKING: Mapping[str, str] = {}


def is_begun(folder: Path, name: str) -> bool:
    """Whether a folder holds what a command of this name has finished or begun."""
    return (folder / f"{name}.json").exists() or (folder / f".{name}.journal").exists()


class Journal:
    """Files of one command that grow together, step by step.

    Args:
        folder: Where the files are to appear. Made when missing.
        name: Names the note of a finished command, ``{name}.json``, and the journal itself.
        identity: Everything that the result depends on (settings, inputs), as JSON values. What a
            command with another identity has left in the folder is neither continued nor replaced.
        files: The names of the files that the steps append to.
        optional: Keys that an identity may leave out, which is then a value of its own.
        free: Keys at any depth whose values are noted, and may be others when the command goes on:
            where something is, if what it is is known otherwise.
        told: What it means that the values of a key differ, where they do not speak for themselves.

    Attributes:
        steps: What each committed step noted, oldest first.
        note: The note of the finished command, or None while it is not finished.

    Raises:
        InputError: If the folder holds the results of a command with another identity, or another
            command is writing there.
        OutputError: If the files cannot be written, e.g. because the disk is full.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        identity: Mapping[str, Any],
        files: tuple[str, ...],
        optional: tuple[str, ...] = (),
        free: tuple[str, ...] = (),
        told: Mapping[str, str] = _SPEAKING,
    ) -> None:
        self.steps: list[dict[str, Any]] = []
        self.note: dict[str, Any] | None = None
        self._folder = folder
        self._note_path = folder / f"{name}.json"
        self._path = folder / f".{name}.journal"
        # As it will be read back: tuples become lists, paths are not allowed.
        self._identity: dict[str, Any] = json.loads(json.dumps(identity))
        self._free, self._told = frozenset(free), told
        self._streams: dict[str, IO[bytes]] = {}
        self._file: IO[bytes] | None = None
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as held:
            held.enter_context(only_run(folder))
            self._begin(files, optional)
            self._held = held.pop_all()
        if self.finished:
            self._held.close()

    @property
    def finished(self) -> bool:
        """Whether the files are complete."""
        return self.note is not None

    def write(self, file: str, data: bytes) -> None:
        """Appends ``data`` to ``file``; it counts from the next :meth:`commit` on."""
        with _writing(self._partial(file)):
            self._streams[file].write(data)

    def commit(self, step: Mapping[str, Any]) -> None:
        """Makes what was written since the last commit count, and notes ``step``."""
        sizes = {}
        for file, stream in self._streams.items():
            with _writing(self._partial(file)):
                stream.flush()
                os.fsync(stream.fileno())
            sizes[file] = stream.tell()
        self._append({"step": step, "sizes": sizes})
        self.steps.append(dict(step))

    def growing(self, file: str) -> Path:
        """Where ``file`` is until :meth:`finish`, for reading back what is committed."""
        return self._partial(file)

    def finish(self, result: Mapping[str, Any], drop: tuple[str, ...] = ()) -> None:
        """Gives the files their final names and notes ``result`` beside the identity.

        Args:
            result: What else the note says.
            drop: Files that were only needed on the way; they are removed.
        """
        self._close_files()
        for file in self._streams:
            if file not in drop:
                self._partial(file).replace(self._folder / file)
        note = {**self._identity, **result}
        write_json(self._note_path, note)
        self._clean(drop)
        self.note = note
        self.close()

    def close(self) -> None:
        """Closes the files; an unfinished journal stays and can be opened again."""
        self._close_files()
        self._held.close()

    def _close_files(self) -> None:
        for stream in (*self._streams.values(), self._file):
            # Closing flushes; what cannot be flushed was not committed, and cannot be saved.
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close_files()
        if self.note is None and not self.steps:
            # Nothing is lost, and the mended command may have another identity.
            with contextlib.suppress(OSError):
                self._clean(tuple(self._streams))
        self.close()

    def _begin(self, files: tuple[str, ...], optional: tuple[str, ...]) -> None:
        if self._note_path.exists():
            note = read_json(self._note_path)
            noted = {key: note.get(key) for key in (*self._identity, *optional)}
            self._check(noted, self._note_path)
            self.note = note
            self._clean(files)  # The kill may have come between the note and this.
        elif self._path.exists():
            self._reopen(files)
        else:
            self._open(0, dict.fromkeys(files, 0))
            self._append({"identity": self._identity})

    def _clean(self, files: tuple[str, ...]) -> None:
        """Removes what only an unfinished command needs."""
        for file in files:
            self._partial(file).unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)

    def _partial(self, file: str) -> Path:
        return self._folder / f".{file}.partial"

    def _reopen(self, files: tuple[str, ...]) -> None:
        size, sizes = 0, dict.fromkeys(files, 0)
        for line in self._path.read_bytes().splitlines(keepends=True):
            try:
                entry = parse_json(line)
            except ValueError:
                break  # The kill came while this line was written: its step does not count.
            if not line.endswith(b"\n"):
                break
            if "identity" in entry:
                self._check(entry["identity"], self._path)
            else:
                self.steps.append(entry["step"])
                sizes = entry["sizes"]
                self._check_files(files, sizes)
            size += len(line)
        self._open(size, sizes)
        if size == 0:
            self._append({"identity": self._identity})

    def _check_files(self, files: tuple[str, ...], sizes: Mapping[str, int]) -> None:
        """Another release may have written other files: half of a new one would be no file."""
        missing = sorted({*files} - {*sizes})
        if missing:
            raise InputError(
                f"{self._folder}: expected an unfinished run that writes {missing[0]}, found one "
                f"of another release; give another output folder, or delete {self._path}"
            )

    def _open(self, journal_size: int, sizes: dict[str, int]) -> None:
        for file, size in sizes.items():
            self._streams[file] = self._open_stream(file, size)
        with _writing(self._path):
            self._file = self._path.open("ab")
            self._file.truncate(journal_size)

    def _open_stream(self, file: str, size: int) -> IO[bytes]:
        partial, final = self._partial(file), self._folder / file
        if size and not partial.exists() and final.exists():
            final.replace(partial)  # The kill came in the middle of finishing.
        with _writing(partial):
            stream = partial.open("ab")
        if stream.tell() < size:
            stream.close()
            raise InputError(
                f"{partial}: expected at least {size} bytes of an unfinished run, found "
                f"{partial.stat().st_size}; delete {self._path} to start over"
            )
        stream.truncate(size)
        stream.seek(size)  # Truncating leaves the position, from which a commit takes the size.
        return stream

    def _append(self, entry: Mapping[str, Any]) -> None:
        assert self._file is not None, "the journal is finished"
        with _writing(self._path):
            self._file.write(json.dumps(entry).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def _check(self, found: Mapping[str, Any], left: Path) -> None:
        _check(self._identity, found, left, self._free, self._told)


def check_begun(
    folder: Path,
    name: str,
    known: Mapping[str, Any],
    free: Collection[str] = (),
    told: Mapping[str, str] = _SPEAKING,
) -> None:
    """Checks what is known of an identity already, before work that a refusal would waste.

    Args:
        folder: As of :class:`Journal`.
        name: As of :class:`Journal`.
        known: Some keys of the identity.
        free: As of :class:`Journal`.
        told: As of :class:`Journal`.

    Raises:
        InputError: If the folder holds the results of a command with another identity.
    """
    note, begun = folder / f"{name}.json", folder / f".{name}.journal"
    if note.exists():
        left, found = note, read_json(note)
    elif begun.exists():
        left = begun
        try:
            found = parse_json(begun.read_bytes().partition(b"\n")[0])["identity"]
        except (ValueError, LookupError, TypeError):
            return  # Killed while it was written: nothing was done.
    else:
        return
    expected = json.loads(json.dumps(known))
    _check(expected, {key: found.get(key) for key in expected}, left, free, told)


def _check(
    expected: Mapping[str, Any],
    found: Mapping[str, Any],
    left: Path,
    free: Collection[str],
    told: Mapping[str, str],
) -> None:
    difference = _first_difference("", expected, found, free)
    if difference is None:
        return
    name, here, there = difference
    what = f"results with {name}={there!r}, this command has {name}={here!r}"
    if None not in (here, there):
        what = told.get(name, what)
    raise InputError(f"{left.parent}: holds {what}; give another output folder, or delete {left}")


def _first_difference(
    name: str, expected: Any, found: Any, free: Collection[str]
) -> tuple[str, Any, Any] | None:
    """The innermost name whose values differ, and both of them."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key in sorted({*expected, *found} - {*free}):
            if difference := _first_difference(key, expected.get(key), found.get(key), free):
                return difference
        return None
    return None if expected == found else (name, expected, found)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise output_error(path, error) from error
