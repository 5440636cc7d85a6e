"""Devices by the names that users give them."""

from collections.abc import Callable
from typing import TypeVar

import torch

from activeindex.errors import InputError

_Put = TypeVar("_Put")


def on_device(name: str, put: Callable[[torch.device], _Put]) -> _Put:
    """What ``put`` makes on a device; whether that can be used is only known by using it.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1``, …; ``auto`` takes a GPU if there is one.
        put: Called with the device.

    Raises:
        InputError: If there is no such device, or it cannot be used.
    """
    here = name
    if name == "auto":
        here = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return put(torch.device(here))
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"device {name!r}: cannot be used ({reason})") from None
