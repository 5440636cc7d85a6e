"""Reading FAISS index files, which may come from strangers.

A damaged index file may end the process that reads it, or be read without end. One that this
machine has not read before is therefore read, and tried, in a child process with little time and
memory first. Its SHA-256 is remembered in the user's cache folder, so a known file costs nothing.
"""

import contextlib
import os
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from activeindex.errors import InputError, library_errors, reason_of
from activeindex.indexing.child import Bytes, run_in_child
from activeindex.indexing.search import add
from activeindex.indexing.unwrap import unwrapped
from activeindex.runtime.files import file_hash

_SECONDS = 20
"""CPU time for trying a small index file."""
_BYTES_A_SECOND = 10_000_000
"""Slowest reading of a larger one."""
_MEMORY = 4 << 30
"""Memory for trying a small index file; FAISS computes tables of up to 2 GiB."""
_MEMORY_A_BYTE = 4
"""Further memory per byte of the file."""
_NEAREST = 257
"""Lists that are searched for, as for the half-spaces of a cell."""


def read_index(path: Path, sha256: str | None = None, *, mapped: bool = False) -> faiss.Index:
    """Read a FAISS index file.

    Args:
        path: The file.
        sha256: Its hash, where that is known already.
        mapped: Whether to leave the codes on the disk, from where a search reads the pages that
            it visits: opening takes no time, and memory holds the pages last used. Such an index
            is for searching: FAISS 1.15 ends the process that adds to it. The file must be one's
            own: it is not tried in a child process, which would have to read all of it.

    Raises:
        InputError: If the file is not one, or it takes too much time or memory to read.
    """
    expected = f"{path}: expected a FAISS index file"
    if not path.is_file():
        raise InputError(f"{expected}, found {'no file' if path.exists() else 'nothing'}")
    if not mapped:
        sha256 = sha256 or file_hash(path)
        if not _is_known(sha256):
            size = path.stat().st_size
            run_in_child(
                try_file,
                {"path": str(path)},
                expected,
                seconds=_SECONDS + size // _BYTES_A_SECOND,
                memory=_MEMORY + size * _MEMORY_A_BYTE,
            )
            remember(sha256)
    return _read(path, faiss.IO_FLAG_MMAP_IFC if mapped else 0)


def _read(path: Path, flags: int) -> faiss.Index:
    flags |= faiss.IO_FLAG_READ_ONLY  # Lists on the disk are never written to.
    with library_errors(f"{path}: expected a FAISS index file"):
        try:
            name = str(path).encode().decode()
        except UnicodeEncodeError:  # FAISS takes names in UTF-8 only.
            return faiss.deserialize_index(np.fromfile(path, np.uint8), flags)
        return faiss.read_index(name, flags)


def try_file(request: dict[str, Any], data: Bytes) -> Bytes:
    """Read and try an index file, in a child process."""
    faiss.omp_set_num_threads(1)
    path = Path(request["path"])
    try_index(_read(path, 0), f"{path}: expected a FAISS index file")
    return data


def try_index(index: faiss.Index, subject: str) -> None:
    """Do with an index what the program may do with it, where a crash harms nobody.

    It is no fault that FAISS refuses a call: not every index can do everything.

    Args:
        index: The index; vectors may be added to it.
        subject: Beginning of the message.

    Raises:
        InputError: If there is not enough memory.
    """
    rows = np.random.default_rng(0).normal(size=(2, index.d)).astype(np.float32)
    # FAISS crashes when an untrained index is asked for a code.
    for use in (_code, _find_cells, _search, _fill) if index.is_trained else ():
        try:
            use(index, rows)
        except MemoryError as error:
            raise InputError(f"{subject} ({reason_of(error)})") from None
        except Exception:  # FAISS and SWIG raise errors of a dozen types.
            continue


def _code(index: faiss.Index, rows: Any) -> None:
    transforms, codec = unwrapped(index)
    for transform in transforms:
        rows = transform.apply(rows)
    codec.sa_decode(codec.sa_encode(rows))


def _find_cells(index: faiss.Index, rows: Any) -> None:
    transforms, codec = unwrapped(index)
    for transform in transforms:
        rows = transform.apply(rows)
    inverted = faiss.extract_index_ivf(codec)
    inverted.quantizer.search(rows, min(inverted.nlist, _NEAREST))
    inverted.quantizer.reconstruct_batch(inverted.quantizer.assign(rows, 1).ravel())


def _search(index: faiss.Index, rows: Any) -> None:
    index.search(rows, 1)


def _fill(index: faiss.Index, rows: Any) -> None:
    if not index.ntotal:
        add(index, rows)
        index.search(rows, 1)


def remember(sha256: str) -> None:
    """Note that this machine can read an index file with this hash; nowhere if that fails."""
    with contextlib.suppress(OSError, RuntimeError):  # A home that is read-only, or none.
        file = _known(sha256)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def _is_known(sha256: str) -> bool:
    with contextlib.suppress(OSError, RuntimeError):
        return _known(sha256).is_file()
    return False


def _known(sha256: str) -> Path:
    """An empty file per index, which appears whole; another FAISS reads files differently."""
    folder = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not folder.is_absolute():  # As the XDG Base Directory Specification has it.
        folder = Path.home() / ".cache"
    return folder / "activeindex" / "indexes" / f"{sha256}-faiss-{faiss.__version__}"
