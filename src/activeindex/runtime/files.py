"""Atomic files, JSON, hashes, and checks of paths."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from activeindex.errors import InputError, OutputError, reason_of


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file atomically.

    The content is on the disk before the name is (fsync, then rename), so a reader or a crash
    sees the old file or the new one, never a part. When the block raises, nothing is left.

    Args:
        path: File to make or to replace. Its folder is made when missing.

    Yields:
        A path beside ``path`` to write to, renamed to ``path`` at the end of the block.

    Raises:
        OutputError: If the file cannot be written, e.g. because the disk is full.
    """
    # The process number keeps two programs that write the same file apart; the suffix stays last
    # because many writers choose the format by it.
    beside = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except (OSError, RuntimeError) as error:
        # RuntimeError is how PyTorch and FAISS say that a write failed.
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise output_error(path, error) from error
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


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
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write ``value`` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


# JSON keys of release 0.1, and their present names.
_RENAMED = {"code_views": "descriptor_views"}


def parse_json(text: str | bytes) -> Any:
    """Parse JSON; renamed keys of release 0.1 get their present names."""

    def with_new_names(value: dict[str, Any]) -> dict[str, Any]:
        return {_RENAMED.get(key, key): each for key, each in value.items()}

    return json.loads(text, object_hook=with_new_names)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: If the file does not hold one.
    """
    try:
        value = parse_json(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        text = f"{path}: expected a JSON object, found something else ({error})"
        raise InputError(text) from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object, found a {type(value).__name__}")
    return value


def read_lines(path: Path) -> Iterator[str]:
    """Read the lines of a UTF-8 file, without their ends; only LF and CRLF end one.

    Raises:
        InputError: If the file is not UTF-8.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield line.removesuffix(b"\n").removesuffix(b"\r").decode()
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
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
