"""Locks that keep two runs from writing in one folder at once."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import filelock

from activeindex.errors import InputError

# Hidden file in a folder while a run writes there; the lock on it ends with the process.
LOCK_FILE = ".activeindex.lock"


class BusyError(InputError):
    """Another run is writing in the same folder."""


@contextlib.contextmanager
def only_run(folder: Path, option: str = "", wait: float = 0.0) -> Iterator[None]:
    """Hold ``folder`` for this run; file systems without locks are not held.

    Args:
        folder: An existing folder.
        option: The option that named the folder, for the message.
        wait: Seconds to wait for another run.

    Raises:
        BusyError: If another run holds it.
    """
    lock = filelock.FileLock(folder / LOCK_FILE, timeout=wait, thread_local=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        where = f"{option} {folder}".lstrip()
        raise BusyError(f"{where}: expected no other run here, found one that is writing") from None
    except (OSError, NotImplementedError):
        pass
    try:
        yield
    finally:
        # Removed while it is held: a run that has opened it already sees that it has no name.
        with contextlib.suppress(OSError):
            Path(lock.lock_file).unlink()
        lock.release()
