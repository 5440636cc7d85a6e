"""Downloads of weights: resumed after a cut, from where they should come from, whole or not at all.

What arrives grows in ``NAME.partial`` beside the file it becomes, with a note of the server's
validator (ETag or Last-Modified). The next attempt asks for the rest under the condition that the
server's file is still that one, and starts over otherwise. Only https is fetched, at every hop of
a redirect; plain http counts between programs of this machine alone.
"""

import contextlib
import http.client
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from activeindex.errors import InputError
from activeindex.extractors.weights.addresses import (
    CutError,
    cause_of,
    check_address,
    open_address,
)
from activeindex.runtime.files import output_error, read_json, write_json
from activeindex.runtime.progress import Progress, Silent

StartBar = Callable[[str, int | None, int], AbstractContextManager[Progress]]
"""Starts a progress bar: its title, how many MiB there are if known, how many are done."""

MAX_BYTES = 4 << 30
"""Larger than any weights file of the field; bounds what a broken server can fill a disk with."""

_ATTEMPTS = 3
_TIMEOUT = 10.0
"""Also how long a firewall that drops packets is waited for, per address of the server."""

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
    """Downloads a file, unless it is there; it appears whole or not at all.

    Args:
        address: An https address, or an http one of this machine.
        path: The file to make; its folder is made when missing.
        magic: What the file must begin with. Anything else, e.g. a page of HTML, is refused.
        start_bar: Called for a progress bar, in MiB.
        attempts: How many connections may be cut before giving up; what has arrived is kept for
            the next call.
        timeout: Seconds without an answer after which a connection counts as cut.
        max_bytes: Refuse more than this.

    Raises:
        InputError: If the address or a redirect is not allowed, the server does not answer or
            answers with something else, the connection was cut too often, or another program is
            downloading the file.
        OutputError: If the file cannot be written.
    """
    check_address(address)
    partial = path.with_name(f"{path.name}.partial")
    fetching = _Fetching(address, path, magic, start_bar, timeout, max_bytes)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Appending keeps what has arrived; nothing is written before the server has agreed to it.
        with partial.open("ab") as file:
            locked = _lock(file, partial)
            try:
                if path.exists():  # Another program may have finished since the caller looked.
                    return
                if not locked:
                    raise InputError(f"{partial}: another program is downloading it; wait for that")
                fetching.fetch(file, attempts)
                file.flush()
                os.fsync(file.fileno())
                partial.replace(path)
            finally:
                if locked and (path.exists() or file.tell() == 0):
                    partial.unlink(missing_ok=True)
                    fetching.note.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(path, error) from error


def _lock(file: IO[bytes], partial: Path) -> bool:
    """Keeps two programs from appending to the same partial file; whether this one may."""
    try:
        import fcntl
    except ImportError:  # No flock on Windows; two downloads at once end in a refused file there.
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The other program may have finished, and renamed this very file, since it was opened.
        return os.path.samestat(partial.stat(), os.fstat(file.fileno()))
    except (BlockingIOError, FileNotFoundError):
        return False


@dataclass(frozen=True)
class _Fetching:
    """Fetches one file; see :func:`download` for the rest of the attributes.

    Attributes:
        path: What the file is going to be.
    """

    address: str
    path: Path
    magic: bytes
    start_bar: StartBar
    timeout: float
    max_bytes: int

    @property
    def note(self) -> Path:
        """Where the validator of the partial file is kept."""
        return self.path.with_name(f"{self.path.name}.partial.json")

    def fetch(self, file: IO[bytes], attempts: int) -> None:
        """Appends what is missing, with several connections if need be."""
        for attempt in range(1, attempts + 1):
            try:
                return self._connect(file)
            except CutError as cut:
                if attempt == attempts:
                    raise InputError(
                        f"{self.address}: the connection was cut {attempts} times ({cut}); the "
                        "same command goes on where it was"
                    ) from None

    def _connect(self, file: IO[bytes]) -> None:
        done = file.tell()
        headers = {"User-Agent": "activeindex", "Accept-Encoding": "identity"}
        validator = self._noted_validator() if done else None
        if validator:
            headers |= {"Range": f"bytes={done}-", "If-Range": validator}
        with open_address(self.address, headers, self.timeout) as answer:
            if answer.status == 200:
                _start_over(file)
                done, total = 0, answer.length
                self._take_note(answer)
            else:
                total = _total_of_rest(answer, done, validator)
                if total is None:
                    _start_over(file)
                    raise CutError(f"status {answer.status} to a request for the rest")
            self._check_length(answer, total, file)
            mib = None if total is None else -(-total // _MIB)
            with self.start_bar(self.path.name, mib, done // _MIB) as progress:
                for block in _blocks(answer, total, done):
                    if done < len(self.magic):
                        self._check_start(answer, block, self.magic[done:])
                    file.write(block)
                    progress.advance((done + len(block)) // _MIB - done // _MIB)
                    done += len(block)
                    if done > self.max_bytes:
                        _start_over(file)
                        raise self._too_large("more")
            if done < len(self.magic):
                _start_over(file)
                self._check_start(answer, b"", self.magic)

    def _noted_validator(self) -> str | None:
        """What the partial file's server said of the file, if it was the same address."""
        try:
            note = read_json(self.note)
        except (FileNotFoundError, InputError):
            return None
        validator = note.get("validator")
        known = note.get("address") == self.address and isinstance(validator, str)
        return validator if known else None

    def _take_note(self, answer: http.client.HTTPResponse) -> None:
        write_json(self.note, {"address": self.address, "validator": _validator(answer)})

    def _check_length(
        self, answer: http.client.HTTPResponse, total: int | None, file: IO[bytes]
    ) -> None:
        if total is None and not answer.chunked:
            # The end of such an answer and a cut cannot be told apart.
            raise InputError(f"{self.address}: expected a file, found one of unknown length")
        if total is not None and total > self.max_bytes:
            _start_over(file)
            raise self._too_large(f"{total:,}")

    def _too_large(self, found: str) -> InputError:
        return InputError(
            f"{self.address}: expected at most {self.max_bytes:,} bytes, found {found}"
        )

    def _check_start(self, answer: http.client.HTTPResponse, block: bytes, magic: bytes) -> None:
        if not block or not block.startswith(magic[: len(block)]):
            kind = answer.headers.get_content_type()
            raise InputError(
                f"{self.address}: expected a file that begins with {magic!r}, found {kind} that "
                f"begins with {block[:16]!r}"
            )


def _validator(answer: http.client.HTTPResponse) -> str | None:
    """A strong ETag, else the date of the last change: what If-Range takes (RFC 9110, 13.1.5)."""
    etag = answer.headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return str(etag)
    changed = answer.headers.get("Last-Modified")
    return str(changed) if changed else None


def _total_of_rest(
    answer: http.client.HTTPResponse, done: int, validator: str | None
) -> int | None:
    """The length of the whole file, if the answer goes on with the file that was begun."""
    # Some servers send the rest of a changed file, whatever If-Range says.
    if answer.status != 206 or (validator and _validator(answer) not in (None, validator)):
        return None
    sent = re.fullmatch(r"bytes (\d+)-\d+/(\d{1,18})", answer.headers.get("Content-Range", ""))
    return int(sent[2]) if sent and sent[1] == str(done) else None


def _start_over(file: IO[bytes]) -> None:
    file.seek(0)
    file.truncate()


def _blocks(answer: http.client.HTTPResponse, total: int | None, done: int) -> Iterator[bytes]:
    """Yields what comes; a connection that ends early is an error, not the end of the file."""
    while True:
        try:
            block = answer.read(_BLOCK)
        except (OSError, http.client.HTTPException) as error:
            raise CutError(f"after {done:,} bytes: {cause_of(error)}") from None
        if not block:
            break
        done += len(block)
        yield block
    if total is not None and done != total:
        raise CutError(f"after {done:,} of {total:,} bytes")
