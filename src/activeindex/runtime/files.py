"""Atomic files, JSON, hashes, and checks of paths."""

import contextlib
import errno
import json
import os
import re
import reprlib
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Any, TypeAlias, get_args

from activeindex.errors import InputError, OutputError, library_errors, reason_of


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file atomically.

    The content is on the disk before the name is, and the name before the block is left (fsync,
    rename, fsync of the folder), so a reader, a kill or a power loss finds the old file or the new
    one, never a part. When the block raises, nothing is left; what a killed process left is
    overwritten by the next one that writes the file.

    Args:
        path: File to make or to replace. Its folder is made when missing.

    Yields:
        A path beside ``path`` to write to, renamed to ``path`` at the end of the block. It has the
        same suffix, by which many writers choose the format.

    Raises:
        OutputError: If the file cannot be written, e.g. because the disk is full.
    """
    with _renamed_at_end(path) as beside:
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Make a folder of files atomically, as :func:`whole_file` does a file.

    Args:
        path: Folder to make; it does not exist yet, or is empty.

    Yields:
        An empty folder beside ``path``, for files written with :func:`whole_file`.

    Raises:
        OutputError: If the folder cannot be made.
    """
    with _renamed_at_end(path, folder=True) as beside:
        for left in beside.iterdir():  # By a process that was killed.
            _remove(left)
        yield beside


@contextlib.contextmanager
def _renamed_at_end(path: Path, *, folder: bool = False) -> Iterator[Path]:
    beside, handle = path, None
    try:
        make_folder(path.parent)
        beside, handle = _claim(path, folder)
        yield beside
        beside.replace(path)
        sync_folder(path.parent)
    except BaseException as error:
        if beside != path:
            with contextlib.suppress(OSError):
                _remove(beside)
        if isinstance(error, OSError | RuntimeError):
            # RuntimeError is how PyTorch and FAISS say that a write failed.
            raise output_error(path, error) from error
        raise
    finally:
        if handle is not None:
            os.close(handle)


def _claim(path: Path, folder: bool) -> tuple[Path, int | None]:
    """Make the hidden file or folder that becomes ``path``, and lock it.

    Its name follows from that of ``path``, whatever the length, so the next writer takes over what
    a killed one left. While another process holds it, or where a file system has no locks, the name
    is this thread's own.
    """
    import hashlib

    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    beside = path.with_name(f".{digest}.partial{path.suffix}")
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        if folder:
            beside.mkdir(exist_ok=True)
        handle = os.open(beside, os.O_RDONLY if folder else os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), beside.stat()):  # It may be renamed by now.
                return beside, handle
        except OSError:
            pass
        os.close(handle)
    own = f"{digest}.{os.getpid()}.{threading.get_native_id()}"
    beside = path.with_name(f".{own}.partial{path.suffix}")
    if folder:
        beside.mkdir()
    return beside, None


def _remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def make_folder(folder: Path) -> None:
    """Make a folder, and the missing ones above it, so that they outlast a power loss."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync_folder(each.parent)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, for what was made or renamed there.

    Folders that cannot be opened or flushed, as on Windows and some network file systems, are left
    to the system.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EROFS):
            raise
    finally:
        os.close(handle)


def output_error(path: Path, error: Exception) -> OutputError:
    """Error for a file that could not be written, with the reason of the system."""
    if isinstance(error, OutputError):
        return error
    reason = error.strerror if isinstance(error, OSError) else None
    if isinstance(error, FileExistsError):
        reason = "a file has its folder's name"
    if reason is None:
        import shutil  # Loads every compression, as hashlib does OpenSSL: --help needs neither.

        free = 0
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(path.parent).free
        reason = f"{reason_of(error)}; {free:,} bytes are free there"
    return OutputError(f"{path}: cannot be written ({reason})")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise an error of the system inside the block as that of writing ``path``."""
    try:
        yield
    except OSError as error:
        raise output_error(path, error) from error


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    with whole_file(path) as beside:
        # Bytes of a file's name that are not UTF-8 are escaped as JSON and Python escape them.
        beside.write_bytes(text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write ``value`` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


Types: TypeAlias = Mapping[str, type | UnionType]
"""Types of the values of a JSON object by key."""

_JSON_TYPES: dict[Any, str] = {
    **{int: "a whole number", float: "a number", str: "a text", bool: "true or false"},
    **{list: "a list", dict: "an object", NoneType: "null"},
}
_LONGEST_WHOLE = 20

# JSON keys of release 0.1, and their present names.
_RENAMED = {"code_views": "descriptor_views"}


def parse_json(text: str | bytes) -> Any:
    """Parse JSON; renamed keys of release 0.1 get their present names.

    Raises:
        ValueError: If it is malformed, nested too deeply, has a key twice in an object, or a whole
            number of more than 64 bits.
    """

    def with_new_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = {_RENAMED.get(key, key): each for key, each in pairs}
        if len(value) < len(pairs):
            raise ValueError("an object has a key twice")
        return value

    def whole(digits: str) -> int:
        if len(digits) > _LONGEST_WHOLE or abs(number := int(digits)) >= 1 << 64:
            raise ValueError("a whole number has more than 64 bits")
        return number

    try:
        return json.loads(text, object_pairs_hook=with_new_names, parse_int=whole)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_json(path: Path, types: Types = MappingProxyType({})) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: The file.
        types: Types of the values of some keys, where these are there.

    Raises:
        InputError: If the file does not hold one, or a value has another type.
    """
    try:
        value = parse_json(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        text = f"{path}: expected a JSON object, found something else ({error})"
        raise InputError(text) from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object, found a {type(value).__name__}")
    check_types(str(path), value, types)
    return value


def check_types(where: str, value: Mapping[str, Any], types: Types) -> None:
    """Check the values of a JSON object.

    Args:
        where: The file, for the message.
        value: The object.
        types: Types of the values of some keys, where these are there.

    Raises:
        InputError: If a value has another type.
    """
    for key, kind in types.items():
        found = value.get(key)
        # Truth values are whole numbers of Python, not of JSON.
        truth = isinstance(found, bool) and kind is not bool
        if key in value and (truth or not isinstance(found, kind)):
            kinds = get_args(kind) or (kind,)
            named = " or ".join(_JSON_TYPES[each] for each in kinds)
            raise InputError(f"{where}: expected {named} as {key}, found {reprlib.repr(found)}")


def read_lines(path: Path) -> Iterator[str]:
    """Read the lines of a UTF-8 file, without their ends; only LF and CRLF end one.

    A byte order mark at the beginning is left out.

    Raises:
        InputError: If the file is not UTF-8.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            codec = "utf-8-sig" if number == 1 else "utf-8"
            try:
                yield line.removesuffix(b"\n").removesuffix(b"\r").decode(codec)
            except UnicodeDecodeError as error:
                text = f"{path}, line {number}: expected text in UTF-8 ({error})"
                raise InputError(text) from None


def read_json_lines(path: Path, expected: str) -> Iterator[dict[str, Any]]:
    """Read a file of JSON objects, one on each line.

    Args:
        path: The file.
        expected: Description of an object, for the message.

    Raises:
        InputError: If a line is no such object.
    """
    for number, line in enumerate(read_lines(path), start=1):
        try:
            value = parse_json(line)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise InputError(f"{path}, line {number}: expected {expected}")
        yield value


def read_bytes(path: Path, option: str) -> bytes:
    """Read a whole file: what is hashed is then what is used.

    Args:
        path: The file.
        option: Name of the option, for the message.

    Raises:
        InputError: If there is no such file, or it cannot be read.
    """
    check_file(path, option)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with library_errors(f"{option} {path}: expected a file that can be read"):
        if path.stat().st_size > memory // 2:  # A sparse file takes no room on the disk.
            raise MemoryError(f"its size is beyond half of the {memory:,} bytes of memory")
        return path.read_bytes()


_NO_LINE = re.compile('[\n\r\ud800-\udfff]|^["\ufeff]')


def name_line(name: str) -> str:
    r"""Return the line of a list of names for a file's name; stores hold such lines, too.

    It is the name itself. One with line ends or bytes that are not UTF-8, or that begins with a
    quotation mark or a byte order mark, is a JSON string.

    Example:
        >>> print(name_line("a.png"), name_line("two\nlines.png"))
        a.png "two\nlines.png"
        >>> name_of_line(name_line("two\nlines.png"))
        'two\nlines.png'
    """
    return json.dumps(name) if _NO_LINE.search(name) else name


def name_of_line(line: str) -> str:
    """Return the name that :func:`name_line` has made a line of."""
    if line.startswith('"'):
        with contextlib.suppress(ValueError):
            return str(json.loads(line))
    return line


def path_inside(folder: Path, name: str, option: str) -> Path:
    """Path of a name that was read from a file or handed in, below a folder.

    Raises:
        InputError: If the name leads out of the folder, or is none.
    """
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or not path.name or "\0" in name:
        raise InputError(f"{option}: expected a name within the folder {folder}, found {name!r}")
    return folder / path


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_folder(path: Path, option: str) -> Path:
    """Return ``path`` if it is a folder.

    Args:
        path: Folder that should exist.
        option: Name of the option, for the message.

    Raises:
        InputError: If there is no such folder.
    """
    if not path.is_dir():
        found = "a file" if path.exists() else "nothing"
        raise InputError(f"{option} {path}: expected a folder, found {found}")
    return path


def check_there(path: Path, option: str, expected: str) -> Path:
    """Return ``path`` if it is a file or a folder; see :func:`check_folder`."""
    if not path.exists():
        raise InputError(f"{option} {path}: expected {expected}, found nothing")
    return path


def check_file(path: Path, option: str) -> Path:
    """Return ``path`` if it is a file; see :func:`check_folder`."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        raise InputError(f"{option} {path}: expected a file, found {found}")
    return path


def check_written(path: Path) -> None:
    """Check that a file of a worker is visible in this process.

    Raises:
        InputError: If it is not, because the worker's machine has another disk under that path.
    """
    if not path.is_file():
        raise InputError(f"output_dir: expected a folder that all workers share, {path} is missing")


def check_kept(path: Path, note: Path) -> None:
    """Check that a file of a finished command still exists.

    Args:
        path: The file.
        note: Note by which the command is known to be finished.

    Raises:
        InputError: If the file is missing or empty.
    """
    size = path.stat().st_size if path.is_file() else None
    if not size:
        found = "nothing" if size is None else "an empty file"
        hint = f"delete {note} to start over"
        raise InputError(f"{path}: expected what was written there before, found {found}; {hint}")


def check_writable(folder: Path) -> None:
    """Make a missing folder, and check that files can be written in it.

    Raises:
        OutputError: If they cannot.
    """
    import tempfile

    with writing(folder):
        make_folder(folder)
        tempfile.TemporaryFile(dir=folder).close()
