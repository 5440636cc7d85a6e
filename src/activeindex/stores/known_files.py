"""Files whose contents are known from an earlier run, so that they are not read again."""

import contextlib
import hashlib
import os
import time
from pathlib import Path

from activeindex.errors import InputError, OutputError
from activeindex.runtime.files import file_hash, read_json, write_json

_RECENT_NS = 2_000_000_000
"""Age up to which a file may change once more without a change of its times: two seconds, the
resolution of FAT, the coarsest of file systems."""


class KnownFiles:
    """Files that had a hash, remembered by size, times and inode, as Git's index does.

    A file that is not exactly as it was is read again. So is one that had been written within two
    seconds before it was hashed, since the same times may belong to another content.

    Args:
        path: The file that remembers them. One that is missing or damaged knows none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = dict[str, str]()
        with contextlib.suppress(InputError, OSError):
            self._known = read_json(path)
        self._changed = False

    def has_hash(self, name: str, path: Path, expected: str) -> bool:
        """Compare a file with a SHA-256 in hexadecimal; it is read unless it is known.

        Args:
            name: Name under which it is remembered.
            path: The file.
            expected: The hash.
        """
        now, stat = time.time_ns(), path.stat()
        mark = _mark(stat, expected)
        if self._known.get(name) == mark:
            return True
        if file_hash(path) != expected:
            return False
        if max(stat.st_mtime_ns, stat.st_ctime_ns) < now - _RECENT_NS:
            self._known[name] = mark
            self._changed = True
        return True

    def save(self) -> None:
        """Remember the files, unless nothing can be written; the next run then reads them again."""
        if self._changed:
            with contextlib.suppress(OutputError):
                write_json(self._path, self._known)


def _mark(stat: os.stat_result, sha256: str) -> str:
    values = stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, sha256
    return hashlib.sha256(repr(values).encode()).hexdigest()[:24]
