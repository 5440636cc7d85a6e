"""The hub that timm downloads from, when there is no way to it."""

import contextlib
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from activeindex.extractors.weights import cause_of

_TIMEOUT = 10.0


@contextlib.contextmanager
def reachable_or_offline() -> Iterator[None]:
    """Puts the hub's client offline for the block if the hub cannot be reached.

    The client would otherwise try each of several files six times, 48 s in all, even where the
    weights are in its cache.

    Raises:
        ConnectionError: If the hub cannot be reached and the block needs it.
    """
    import huggingface_hub.constants

    constants: Any = huggingface_hub.constants
    reason = None if constants.HF_HUB_OFFLINE else _unreachable(constants.ENDPOINT)
    if reason is None:
        yield
        return
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    except OSError:
        raise ConnectionError(
            f"{constants.ENDPOINT} cannot be reached: {reason}; no earlier download either"
        ) from None
    finally:
        constants.HF_HUB_OFFLINE = False


def _unreachable(address: str) -> str | None:
    """Why a server gives no answer; None if it gives one, whatever it says."""
    request = urllib.request.Request(address, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT):
            return None
    except urllib.error.HTTPError:
        return None
    except OSError as error:
        return cause_of(error)
