"""Journal of a resumable command: output files that grow by committed steps.

A long command works in steps (a batch of images). Each step appends to some files (feature rows,
CSV lines) and is then *committed*: the files are flushed to the disk, and one line with their sizes
is added to the journal. After a kill at any moment, reopening the journal truncates every file to
its size at the last committed step, and the command continues with the next step; its output is
therefore the same as without the kill. Finishing gives the files their final names and writes a
note of the identity, by which a finished command is recognised and not repeated. Two commands
never write in one folder at the same time.
"""

import contextlib
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Self

from activeindex.errors import InputError
from activeindex.identity import is_identity, noted_difference
from activeindex.runtime.files import (
    check_types,
    make_folder,
    parse_json,
    read_json,
    sync_folder,
    write_json,
    writing,
)
from activeindex.runtime.locking import LOCK_FILE, BusyError, only_run

_BEGUN = 3
"""Lines of a journal with a step: the identity, the step, and nothing after its line end."""


def is_begun(folder: Path, name: str) -> bool:
    """Return True if a command of this name has begun or finished in a folder."""
    return (folder / f"{name}.json").exists() or (folder / f".{name}.journal").exists()


class Journal:
    """Files of one command that grow together, step by step.

    Args:
        folder: Folder of the files. Made when missing.
        name: Name of the command's note, ``{name}.json``, and of the journal itself.
        identity: Everything that the result depends on (settings, inputs), as JSON values; a
            top-level None is the same as a missing key. A command neither continues nor replaces
            what a command of another identity has left in the folder.
        files: Names of the files that the steps append to.
        ignored_keys: Keys at any depth that are noted but not compared: the location of an input
            whose content is identified by another key.
        explanations: Messages for keys whose values mean nothing to a user.

    Attributes:
        steps: Notes of the committed steps, oldest first.
        note: Note of the finished command; None while it is not finished.

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
        ignored_keys: Collection[str] = (),
        explanations: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.steps: list[dict[str, Any]] = []
        self._folder, self._name = folder, name
        self._note_path = folder / f"{name}.json"
        self._path = folder / f".{name}.journal"
        # As it will be read back: tuples become lists, paths are not allowed.
        self._identity: dict[str, Any] = json.loads(json.dumps(identity))
        self._ignored_keys, self._explanations = ignored_keys, explanations
        self._streams: dict[str, IO[bytes]] = {}
        self._file: IO[bytes] | None = None
        self._held = contextlib.ExitStack()
        self.note = self._read_note()
        if self.note is None:
            with writing(folder):
                make_folder(folder)
            with contextlib.ExitStack() as held:
                held.enter_context(only_run(folder))
                self.note = self._read_note()  # Another run may have finished in between.
                if self.note is None:
                    self._open(files)
                    self._held = held.pop_all()
        if self.finished and ((folder / LOCK_FILE).exists() or self._path.exists()):
            with contextlib.suppress(BusyError), only_run(folder):
                self._clean(files)  # A kill came after the note.

    @property
    def finished(self) -> bool:
        """True once the files are complete."""
        return self.note is not None

    def write(self, file: str, data: bytes) -> None:
        """Append ``data`` to ``file``, for the next :meth:`commit`."""
        with writing(self.growing(file)):
            self._streams[file].write(data)

    def commit(self, step: Mapping[str, Any]) -> None:
        """Commit everything written since the last commit, and note ``step``."""
        sizes = {}
        for file, stream in self._streams.items():
            with writing(self.growing(file)):
                stream.flush()
                os.fsync(stream.fileno())
            sizes[file] = stream.tell()
        self._append({"step": step, "sizes": sizes})
        self.steps.append(dict(step))

    def finish(self, result: Mapping[str, Any], drop: tuple[str, ...] = ()) -> None:
        """Give the files their final names and write the note: identity and ``result``.

        Args:
            result: Further entries of the note.
            drop: Files that are removed instead, since the finished command does not need them.
        """
        self._close_files()
        for file in self._streams:
            if file not in drop:
                self.growing(file).replace(self._folder / file)
        sync_folder(self._folder)
        note = {key: value for key, value in self._identity.items() if value is not None}
        note |= result
        write_json(self._note_path, note)
        self._clean(drop)
        self.note = note
        self.close()

    def close(self) -> None:
        """Close the files; an unfinished journal stays and can be opened again."""
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

    def __exit__(self, *_: object) -> None:
        self._close_files()
        if self.note is None and not self.steps:
            # Nothing is lost, and the mended command may have another identity.
            with contextlib.suppress(OSError):
                self._clean(tuple(self._streams))
        self.close()

    def _read_note(self) -> dict[str, Any] | None:
        """Check the identity of the folder's results, and read the note if any."""
        compared = self._identity, self._ignored_keys, self._explanations
        check_begun(self._folder, self._name, *compared)
        return read_json(self._note_path) if self._note_path.exists() else None

    def _clean(self, files: tuple[str, ...]) -> None:
        """Remove the files of an unfinished command."""
        for file in files:
            self.growing(file).unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)

    def growing(self, file: str) -> Path:
        """Path of ``file`` until :meth:`finish`, for reading back committed steps."""
        return self._folder / f".{file}.partial"

    def _open(self, files: tuple[str, ...]) -> None:
        """Open the files at their sizes after the last committed step."""
        size, sizes = 0, dict.fromkeys(files, 0)
        lines = self._path.read_bytes().splitlines(keepends=True) if self._path.exists() else []
        for line in lines:
            try:
                entry = parse_json(line)
            except ValueError:
                break  # The kill came while this line was written: its step does not count.
            if not line.endswith(b"\n"):
                break
            if not isinstance(entry, dict) or ("step" in entry and "sizes" not in entry):
                raise InputError(
                    f"{self._path}: expected an unfinished run, found something else; delete it to "
                    "start over"
                )
            if "step" in entry:
                check_types(str(self._path), entry, {"step": dict, "sizes": dict})
                check_types(str(self._path), entry["sizes"], dict.fromkeys(entry["sizes"], int))
                self.steps.append(entry["step"])
                sizes = entry["sizes"]
            size += len(line)
        if not self.steps:  # Another identity than the noted one may begin, and other files.
            size, sizes = 0, dict.fromkeys(files, 0)
        if missing := sorted({*files} - {*sizes}):
            raise InputError(
                f"{self._folder}: expected an unfinished run that writes {missing[0]}, found one "
                f"of another release; give another output folder, or delete {self._path}"
            )
        for file, file_size in sizes.items():
            self._streams[file] = self._open_stream(file, file_size)
        with writing(self._path):
            self._file = self._path.open("ab")
            self._file.truncate(size)
        if size == 0:
            self._append({"identity": self._identity})
        with writing(self._folder):
            sync_folder(self._folder)  # No step may be noted of files that a power loss takes away.

    def _open_stream(self, file: str, size: int) -> IO[bytes]:
        partial, final = self.growing(file), self._folder / file
        if size and not partial.exists() and final.exists():
            final.replace(partial)  # The kill came in the middle of finishing.
        with writing(partial):
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
        with writing(self._path):
            self._file.write(json.dumps(entry).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())


def begun_identity(folder: Path, name: str) -> tuple[Path, dict[str, Any]] | None:
    """Read the note of a finished command, or the identity of an unfinished one.

    Returns:
        The file and what is in it; None if nothing was done.
    """
    note, begun = folder / f"{name}.json", folder / f".{name}.journal"
    if note.exists():
        return note, read_json(note)
    if not begun.exists():
        return None
    lines = begun.read_bytes().split(b"\n")
    if len(lines) < _BEGUN:
        return None  # Killed before the first step: nothing was done.
    try:
        identity = parse_json(lines[0])["identity"]
    except (ValueError, LookupError, TypeError):
        return None  # Killed while it was written: nothing was done.
    return (begun, identity) if isinstance(identity, dict) else None


def check_begun(
    folder: Path,
    name: str,
    known: Mapping[str, Any],
    ignored_keys: Collection[str] = (),
    explanations: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Check the known part of an identity, before work that a refusal would waste.

    Args:
        folder: See :class:`Journal`.
        name: See :class:`Journal`.
        known: Some keys of the identity.
        ignored_keys: See :class:`Journal`.
        explanations: See :class:`Journal`.

    Raises:
        InputError: If the folder holds the results of a command with another identity.
    """
    noted = begun_identity(folder, name)
    if noted is None:
        return
    left, found = noted
    expected = json.loads(json.dumps(known))
    compared = {key: found.get(key) for key in expected}
    if (difference := _first_difference("", expected, compared, ignored_keys)) is None:
        return
    key, here, there = difference
    what = f"results with {key}={there!r}, this command has {key}={here!r}"
    if None not in (here, there):
        what = explanations.get(key, what)
    raise InputError(f"{folder}: holds {what}; give another output folder, or delete {left}")


def _first_difference(
    name: str, expected: Any, found: Any, ignored_keys: Collection[str]
) -> tuple[str, Any, Any] | None:
    """Innermost key whose values or identities differ, with both values."""
    if is_identity(name):
        texts = noted_difference(name, expected, found)
        return texts and (name, *texts)
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key in sorted({*expected, *found} - {*ignored_keys}):
            here, there = expected.get(key), found.get(key)
            if difference := _first_difference(key, here, there, ignored_keys):
                return difference
        return None
    return None if expected == found else (name, expected, found)
