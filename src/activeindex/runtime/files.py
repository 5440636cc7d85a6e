"""Files that appear whole or not at all, and what identifies them."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from activeindex.errors import InputError, OutputError, reason_of

_HASH_BLOCK = 1 << 20


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a path beside ``path`` to write to; it becomes ``path`` when the block ends well.

    The content is on the disk before the name is (fsync, then rename), so a reader or a crash
    sees the old file or the new one, never a part. When the block raises, nothing is left.

    Args:
        path: The file to make or to replace. Its folder is made when missing.

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
    """The error for a file that could not be written, with the system's reason."""
    if isinstance(error, OutputError):
        return error
    reason = error.strerror if isinstance(error, OSError) else None
    if isinstance(error, FileExistsError):
        reason = "a file has its folder's name"
    if reason is None:
        free = _free_bytes(path.parent)
        reason = f"{reason_of(error)}; {free:,} bytes are free there"
    return OutputError(f"{path}: cannot be written ({reason})")


def _free_bytes(folder: Path) -> int:
    import shutil  # Loads every compression, as OpenSSL below: --help needs neither.

    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def write_text(path: Path, text: str) -> None:
    """Writes ``text`` as UTF-8, whole or not at all."""
    with whole_file(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes ``value`` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


_RENAMED = {"code_views": "descriptor_views"}
"""Keys of JSON objects that release 0.1 wrote, and their names since."""


def parse_json(text: str | bytes) -> Any:
    """Parses JSON, with the keys of release 0.1 under their names since."""
    return json.loads(text, object_hook=_with_new_names)


def _with_new_names(value: dict[str, Any]) -> dict[str, Any]:
    return {_RENAMED.get(key, key): each for key, each in value.items()}


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        InputError: If the file does not hold one.
    """
    try:
        value = parse_json(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(
            f"{path}: expected a JSON object, found something else ({error})"
        ) from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object, found a {type(value).__name__}")
    return value


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a text file, one by one, without their ends; nothing but these ends a line.

    Raises:
        InputError: If the file is not UTF-8.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield line.removesuffix(b"\n").removesuffix(b"\r").decode()
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{path}, line {number}: expected text in UTF-8, found something else ({error})"
                ) from None


def read_json_lines(path: Path, expected: str) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file with one on each line.

    Args:
        path: The file.
        expected: What each stands for, for the message.

    Raises:
        InputError: If a line is none.
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

    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def check_folder(path: Path, option: str) -> Path:
    """Returns ``path`` if it is a folder.

    Args:
        path: The folder that should be there.
        option: What the user calls it, for the message.

    Raises:
        InputError: If there is no such folder.
    """
    if path.is_dir():
        return path
    found = "a file" if path.exists() else "nothing"
    raise InputError(f"{option} {path}: expected a folder, found {found}")


def check_there(path: Path, option: str, expected: str) -> Path:
    """Returns ``path`` if it is a file or a folder; see :func:`check_folder`."""
    if path.exists():
        return path
    raise InputError(f"{option} {path}: expected {expected}, found nothing")


def check_file(path: Path, option: str) -> Path:
    """Returns ``path`` if it is a file; see :func:`check_folder`."""
    if path.is_file():
        return path
    found = "a folder" if path.is_dir() else "nothing"
    raise InputError(f"{option} {path}: expected a file, found {found}")


def check_written(path: Path) -> None:
    """Checks that a file which a worker wrote is here as well.

    Raises:
        InputError: If it is not: a worker on another machine may have another disk of that name.
    """
    if not path.is_file():
        raise InputError(
            f"output_dir: expected a folder that every worker writes to, {path} is not there"
        )


def check_kept(path: Path, note: Path) -> None:
    """Checks that what a finished command wrote is still there.

    Args:
        path: The file.
        note: What says that the command is finished.

    Raises:
        InputError: If it is gone, or empty.
    """
    size = path.stat().st_size if path.is_file() else None
    if not size:
        found = "nothing" if size is None else "an empty file"
        raise InputError(
            f"{path}: expected what was written there before, found {found}; "
            f"delete {note} to start over"
        )


def check_writable(folder: Path) -> None:
    """Makes a folder where it is missing, and checks that files can be made in it.

    Raises:
        OutputError: If they cannot.
    """
    import tempfile

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise output_error(folder, error) from error
