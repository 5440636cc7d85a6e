"""Requests for weights: which addresses are fetched, and how redirects are followed."""

import contextlib
import http.client
import ipaddress
import string
import urllib.error
import urllib.parse
import urllib.request

from activeindex.errors import InputError, reason_of

_REDIRECTS = 5
_REDIRECT_CODES = (301, 302, 303, 307, 308)


class CutError(Exception):
    """The connection ended before the file did; another attempt can go on."""


def check_address(address: str, *, came_from: str | None = None) -> None:
    """Refuses addresses that weights must not come from.

    Args:
        address: Where something is about to be fetched.
        came_from: The address that redirects there, if one does.

    Raises:
        InputError: Unless it is an https address, or an http address of this machine that was
            given as such or that an http address of this machine redirects to.
    """
    where = address if came_from is None else f"{came_from}: redirects to {address}, which"
    try:
        parts = urllib.parse.urlsplit(address)
        host, _ = parts.hostname or "", parts.port  # A port out of range is a ValueError.
        address.encode("ascii")
    except ValueError:
        raise InputError(f"{where}: expected an https address, found a malformed one") from None
    if parts.scheme == "https" and host:
        return
    started_here = came_from is None or urllib.parse.urlsplit(came_from).scheme == "http"
    if parts.scheme == "http" and _is_loopback(host) and started_here:
        return
    if came_from is None:
        raise InputError(f"{address}: expected an https address, found {parts.scheme or 'none'}")
    raise InputError(f"{where} is refused: expected an https address")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def open_address(address: str, headers: dict[str, str], timeout: float) -> http.client.HTTPResponse:
    """Sends a request and follows redirects, each of which is checked.

    Raises:
        InputError: If the server cannot be reached, a redirect is refused, or there is no file.
        CutError: If the connection ended before the answer.
    """
    opener = urllib.request.OpenerDirector()  # Empty: no file:, ftp: or data: can be opened.
    for handler in (
        *(() if _is_loopback_address(address) else (urllib.request.ProxyHandler(),)),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
    ):
        opener.add_handler(handler)
    at = address
    for _ in range(_REDIRECTS + 1):
        try:
            request = urllib.request.Request(at, headers=headers)
            answer: http.client.HTTPResponse = opener.open(request, timeout=timeout)
        except (urllib.error.URLError, UnicodeError) as error:  # No valid name.
            raise InputError(f"{at}: cannot be reached ({cause_of(error)})") from None
        except (OSError, http.client.HTTPException) as error:
            raise CutError(cause_of(error)) from None
        if answer.status in (200, 206, 416):
            return answer
        with answer:
            target = answer.headers.get("Location")
            if answer.status not in _REDIRECT_CODES or not target:
                raise InputError(f"{at}: expected a file, found status {answer.status}")
            # As browsers do: servers send spaces and letters that no request may hold.
            target = urllib.parse.quote(target, encoding="latin-1", safe=string.punctuation)
            with contextlib.suppress(ValueError):  # Malformed, as the next line says.
                target = urllib.parse.urljoin(at, target)
        check_address(target, came_from=at)
        at = target
    raise InputError(f"{address}: expected a file, found more than {_REDIRECTS} redirects")


def _is_loopback_address(address: str) -> bool:
    return _is_loopback(urllib.parse.urlsplit(address).hostname or "")


def cause_of(error: Exception) -> str:
    """What the system or the server said, in one line."""
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return reason_of(inner if isinstance(inner, Exception) else RuntimeError(inner))
