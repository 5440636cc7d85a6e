"""A child process for calls of FAISS that may end it, take all memory, or not answer Ctrl-C."""

import contextlib
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import faiss
import numpy as np
import numpy.typing as npt

from activeindex.errors import InputError

Bytes = npt.NDArray[np.uint8]
Task = Callable[[dict[str, Any], Bytes], Bytes]
"""A function of the package: of a request, values for JSON, and of data."""

_PROGRAM = (
    "import sys; sys.path[:] = [sys.argv[2], *sys.path, *sys.argv[3:]];"
    "from activeindex.indexing.child import answer; answer(sys.argv[1])"
)
_REFUSED, _NO_MEMORY = 2, 3
_PIECE = 1 << 26


def run_in_child(
    task: Task,
    request: dict[str, Any],
    subject: str,
    *,
    data: Sequence[npt.NDArray[np.float32]] = (),
    seconds: int | None = None,
    memory: int | None = None,
    printed: Callable[[str], object] = len,
) -> Bytes:
    """Call a function in a new process, whose crash harms nobody.

    The process imports NumPy and FAISS, and nothing from the current folder. It ends with this
    process, and when the call is interrupted.

    Args:
        task: The function.
        request: Its first argument.
        subject: Beginning of the message about a process that crashes or exceeds a limit.
        data: Arrays, whose bytes are its second argument.
        seconds: CPU time that it may take; None for any.
        memory: Bytes that it may take; None for any.
        printed: Called with every line that FAISS prints.

    Returns:
        The bytes that the function returns.

    Raises:
        InputError: The one that the function raises, or one that begins with ``subject``.
    """
    modules = (Path(__file__).parent, faiss.__file__, np.__file__)
    message = {
        "task": (task.__module__, task.__name__),
        "request": request,
        "size": sum(part.nbytes for part in data),
        "limits": {"RLIMIT_CPU": seconds, "RLIMIT_AS": memory, "RLIMIT_CORE": 0},
    }
    command = [sys.executable, "-I", "-c", _PROGRAM, json.dumps(message)]
    command += [str(Path(module).parents[1]) for module in modules]
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryFile() as result,
        subprocess.Popen(command, stdin=pipe, stdout=result, stderr=pipe) as process,
    ):
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            with contextlib.suppress(BrokenPipeError):  # It has ended; its exit code says why.
                for part in data:
                    rows = max(1, _PIECE // max(1, part[:1].nbytes))
                    for start in range(0, len(part), rows):
                        process.stdin.write(np.ascontiguousarray(part[start : start + rows]).data)
                process.stdin.flush()
            for line in process.stderr:
                text = line.decode(errors="replace")
                for each in text.split("\r"):
                    printed(each)
                if text.startswith("Traceback"):  # A bug of ours, no crash of FAISS.
                    raise RuntimeError(text + process.stderr.read().decode())
            code = process.wait()
        finally:
            process.kill()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        result.seek(0)
        answered = np.frombuffer(result.read(), np.uint8)
    if code == _REFUSED and len(answered):
        raise InputError(answered.tobytes().decode())
    if code:
        raise InputError(f"{subject} ({_death(code, seconds)})")
    return answered


def _death(code: int, seconds: int | None) -> str:
    if code == -signal.SIGXCPU:
        return f"not finished after {seconds} s"
    if code == _NO_MEMORY:
        return "not enough memory"
    if code == -signal.SIGKILL:
        return "killed, perhaps for lack of memory"
    return f"FAISS crashed, {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"


def answer(text: str) -> None:
    """Run a task in the child process, and end the process."""
    # FAISS prints to standard output, which is for the result.
    result = os.dup(1)
    os.dup2(2, 1)
    message = json.loads(text)
    for name, value in message["limits"].items():
        if value is not None:
            limit = getattr(resource, name)
            hard = resource.getrlimit(limit)[1]
            resource.setrlimit(limit, (value if hard < 0 else min(value, hard), hard))
    module, function = message["task"]
    task: Task = getattr(importlib.import_module(module), function)
    code = 0
    try:
        data = np.empty(message["size"], np.uint8)
        parent = os.fdopen(0, "rb")
        parent.readinto(data.data)
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
        answered = task(message["request"], data)
    except InputError as error:
        answered, code = np.frombuffer(str(error).encode(), np.uint8), _REFUSED
    except MemoryError:
        os._exit(_NO_MEMORY)
    with os.fdopen(result, "wb") as file:
        file.write(answered.data)
    os._exit(code)


def _end_with(parent: BinaryIO) -> None:
    parent.read(1)
    os._exit(1)
