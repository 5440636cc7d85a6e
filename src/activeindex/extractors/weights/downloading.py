"""Downloads of weights: resumed after a cut, from where they should come from, whole or not at all.

What arrives grows in ``NAME.partial`` beside the file it becomes, with a note of the server's
validator (ETag or Last-Modified). The next attempt asks for the rest under the condition that the
server's file is still that one, and starts over otherwise. Only https is fetched, at every hop of
a redirect; plain http counts between programs of this machine alone.
"""

import contextlib
import http.client
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

from activeindex.errors import InputError
from activeindex.extractors.weights.addresses import (
    CutError,
    check_address,
    open_address,
    reason_of,
)
from activeindex.running.files import output_error, read_json, write_json
from activeindex.running.progress import Progress, Silent

StartBar = Callable[[str, int | None, int], AbstractContextManager[Progress]]
"""Starts a progress bar: its title, how many MiB there are if known, how many are done."""

MAX_BYTES = 4 << 30
"""Larger than any weights file of the field; bounds what a broken server can fill a disk with."""

_ATTEMPTS = 3
_TIMEOUT = 30.0
_BLOCK = 1 << 16
_MIB = 1 << 20


@contextlib.contextmanager
def no_bar(title: str, total: int | None, done: int) -> Iterator[Progress]:
    """Shows nothing."""
    yield Silent()


def download(
    address: str,
    path: Path,
    *,
    magic: bytes = b"",
    start_bar: StartBar = no_bar,
    attempts: int = _ATTEMPTS,
    timeout: float = _TIMEOUT,
    max_bytes: int = MAX_BYTES,
) -> None:
    """Downloads a file; it appears whole or not at all.

    Args:
        address: An https address, or an http one of this machine.
        path: The file to make; its folder is made when missing.
        magic: What the file must begin with. Anything else, e.g. a page of HTML, is refused.
        start_bar: Called for a progress bar, in MiB.
        attempts: How often a cut connection is taken up again before giving up; what has arrived
            is kept for the next call.
        timeout: Seconds without an answer after which a connection counts as cut.
        max_bytes: Refuse more than this.

    Raises:
        InputError: If the address or a redirect is not allowed, the server does not answer or
            answers with something else, or the connection was cut too often.
        OutputError: If the file cannot be written.
    """
    check_address(address)
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Appending keeps what has arrived; nothing is written before the server has agreed to it.
        with partial.open("ab") as file:
            _lock(file, partial)
            for attempt in range(attempts):
                try:
                    _fetch(address, path, file, magic, start_bar, timeout, max_bytes)
                    break
                except CutError as cut:
                    if attempt + 1 == attempts:
                        raise InputError(
                            f"{address}: the connection was cut {attempts} times ({cut}); the same "
                            "command goes on where it was"
                        ) from None
            file.flush()
            os.fsync(file.fileno())
            partial.replace(path)
        _note(path).unlink(missing_ok=True)
    except OSError as error:
        raise output_error(path, error) from error
    except InputError:
        if partial.is_file() and partial.stat().st_size == 0:
            partial.unlink()
            _note(path).unlink(missing_ok=True)
        raise


def _lock(file: IO[bytes], partial: Path) -> None:
    """Keeps two programs from appending to the same partial file."""
    try:
        import fcntl
    except ImportError:  # No flock on Windows; two downloads at once end in a refused file there.
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The other program may have finished, and renamed this very file, since it was opened.
        mine = partial.exists() and os.path.samestat(partial.stat(), os.fstat(file.fileno()))
    except BlockingIOError:
        mine = False
    if not mine:
        raise InputError(f"{partial}: another program is downloading it; wait for that one")


def _note(path: Path) -> Path:
    """Where the validator of a partial file is kept."""
    return path.with_name(f"{path.name}.partial.json")


def _fetch(
    address: str,
    path: Path,
    file: IO[bytes],
    magic: bytes,
    start_bar: StartBar,
    timeout: float,
    max_bytes: int,
) -> None:
    """One attempt: appends what is missing to ``file``."""
    done = file.seek(0, os.SEEK_END)
    headers = {"User-Agent": "activeindex", "Accept-Encoding": "identity"}
    validator = _validator(path, address)
    if done and validator:
        headers |= {"Range": f"bytes={done}-", "If-Range": validator}
    with open_address(address, headers, timeout) as answer:
        if answer.status == 206 and _starts_at(answer, done):
            length = _length(answer)
        elif answer.status == 200:
            _start_over(file)
            done, length = 0, _length(answer)
            write_json(_note(path), {"address": address, "validator": _validator_of(answer)})
        else:
            _start_over(file)
            raise CutError(f"status {answer.status} to a request for the rest")
        total = None if length is None else done + length
        if total is not None and total > max_bytes:
            raise InputError(f"{address}: expected at most {max_bytes:,} bytes, found {total:,}")
        mib = None if total is None else -(-total // _MIB)
        with start_bar(path.name, mib, done // _MIB) as progress:
            for block in _blocks(answer, total, done):
                if done < len(magic):
                    _check_start(address, answer, block, magic[done:])
                file.write(block)
                progress.advance((done + len(block)) // _MIB - done // _MIB)
                done += len(block)
                if done > max_bytes:
                    _start_over(file)
                    raise InputError(f"{address}: expected at most {max_bytes:,} bytes, found more")


def _validator(path: Path, address: str) -> str | None:
    """What the partial file's server said of the file, if it was the same address."""
    try:
        note = read_json(_note(path))
    except (FileNotFoundError, InputError):
        return None
    validator = note.get("validator")
    return validator if note.get("address") == address and isinstance(validator, str) else None


def _validator_of(answer: http.client.HTTPResponse) -> str | None:
    """A strong ETag, else the date of the last change: what If-Range takes (RFC 9110, 13.1.5)."""
    etag = answer.headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return str(etag)
    changed = answer.headers.get("Last-Modified")
    return str(changed) if changed else None


def _starts_at(answer: http.client.HTTPResponse, done: int) -> bool:
    return bool(answer.headers.get("Content-Range", "").startswith(f"bytes {done}-"))


def _length(answer: http.client.HTTPResponse) -> int | None:
    text = answer.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None


def _start_over(file: IO[bytes]) -> None:
    file.seek(0)
    file.truncate()


def _blocks(answer: http.client.HTTPResponse, total: int | None, done: int) -> Iterator[bytes]:
    """Yields what comes; a connection that ends early is an error, not the end of the file."""
    while True:
        try:
            block = answer.read(_BLOCK)
        except (OSError, http.client.HTTPException) as error:
            raise CutError(f"after {done:,} bytes: {reason_of(error)}") from None
        if not block:
            break
        done += len(block)
        yield block
    if total is not None and done != total:
        raise CutError(f"after {done:,} of {total:,} bytes")


def _check_start(
    address: str, answer: http.client.HTTPResponse, block: bytes, magic: bytes
) -> None:
    if not block.startswith(magic[: len(block)]):
        kind = answer.headers.get_content_type()
        raise InputError(
            f"{address}: expected a file that begins with {magic!r}, found {kind} that begins "
            f"with {block[:16]!r}"
        )
