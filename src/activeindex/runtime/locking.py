"""One writer at a time."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from activeindex.errors import InputError

if sys.platform != "win32":
    import fcntl


class BusyError(InputError):
    """Another run is writing where this one wants to."""


@contextlib.contextmanager
def only_run(folder: Path, option: str = "") -> Iterator[None]:
    """Holds ``folder`` for this process, so that two runs do not write in it at once.

    The lock goes with the process and leaves no file. File systems without locks are not held.

    Args:
        folder: An existing folder.
        option: What the user calls it, for the message.

    Raises:
        BusyError: If another run holds it.
    """
    if sys.platform == "win32":
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                f"{option} {folder}: expected no other run here, found one that is writing".lstrip()
            ) from None
        except OSError:
            pass
        yield
    finally:
        os.close(handle)
