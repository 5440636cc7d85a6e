"""Worker processes of :class:`~activeindex.runtime.pool.LocalEngine`.

A server process imports the large libraries once, and forks a worker for every connection that the
main process sends it. It is a process of its own because a fork of the main process would copy
thread pools of FAISS and PyTorch in an undefined state. Workers never import the user's script, and
look for modules where the main process does, but not in the current folder; of the modules there,
they import those that the main process has imported.
"""

import contextlib
import importlib
import os
import pickle
import signal
import socket
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from activeindex.errors import ActiveIndexError
from activeindex.runtime.search_path import import_from_files

_LIBRARIES = ("torch", "faiss", "PIL.Image")


def serve(handle: int) -> None:
    """Fork a worker for every connection that arrives, until the main process ends.

    Args:
        handle: File descriptor of the socket that connections arrive on, each with the name of a
            module that its worker needs.
    """
    for library in _LIBRARIES:
        importlib.import_module(library)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # Ended workers leave no zombies.
    with socket.socket(fileno=handle) as requests:
        while True:
            module, handles, _, _ = socket.recv_fds(requests, 1024, 1)
            if not handles:
                return
            if module.startswith(b"activeindex."):
                with contextlib.suppress(Exception):  # The worker meets the error again.
                    importlib.import_module(module.decode())
            if os.fork() == 0:
                requests.close()
                try:
                    _work(Connection(handles[0]))
                finally:
                    os._exit(1)
            os.close(handles[0])


def _work(connection: "Connection[Any, Any]") -> None:
    """Answer every item with its result or with the error."""
    import faiss
    import torch

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Workers compute on the CPU.
    messages: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_receive, args=(connection, messages), daemon=True).start()
    function, pickled = None, b""
    while True:
        setup, item = messages.get(), messages.get()
        if setup:
            function = None
            folder, sys.path[:], files, pickled = pickle.loads(setup)
            import_from_files(files)
            with contextlib.suppress(OSError):
                os.chdir(folder)
        try:
            if function is None:
                function = pickle.loads(pickled)
            answer = pickle.dumps((True, function(pickle.loads(item))))
        except BaseException as error:  # sys.exit() in a user's function, too.
            answer = pickle.dumps((False, _portable(error)))
        connection.send_bytes(answer)


def _portable(error: BaseException) -> Exception:
    """An error that can be pickled and read back, with the worker's traceback if it is a bug."""
    text = "".join(traceback.format_exception(error))
    if not isinstance(error, ActiveIndexError):
        error.add_note(text)  # Tracebacks are not pickled.
    with contextlib.suppress(Exception):
        copy = pickle.loads(pickle.dumps(error))
        if isinstance(copy, Exception):
            return copy
    return RuntimeError(text)


def _receive(connection: "Connection[Any, Any]", messages: "SimpleQueue[bytes]") -> None:
    """Receive messages, and end the worker when the main process ends or closes it."""
    try:
        while True:
            messages.put(connection.recv_bytes())
    except (EOFError, OSError):
        os._exit(1)
