"""Module search path without the current folder, which may hold downloaded files.

A ``queue.py`` among downloaded pictures must never be imported. ``python -m`` and empty parts of
``PYTHONPATH`` put the current folder on :data:`sys.path`; commands take it off first of all, and
worker processes never have it. This module is imported before that, and so imports nothing else.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec


def without_current_folder(path: list[str]) -> list[str]:
    """Leave the current folder out of a search path.

    It stays where an absolute part of ``PYTHONPATH`` names it, or this package or Python itself
    lies in it.
    """
    try:
        here = os.path.realpath(os.getcwd())  # noqa: PTH109 (pathlib could be a file in there)
    except OSError:
        return path  # The folder has been deleted: nothing can be imported from it.
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    wanted = [each for each in named if os.path.isabs(each)]  # noqa: PTH117
    wanted += [_parent(_parent(_parent(__file__))), _parent(os.__file__)]
    if here in map(os.path.realpath, wanted):
        return path
    return [each for each in path if os.path.realpath(each or ".") != here]


def _parent(path: str) -> str:
    return os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120


def leave_out_current_folder() -> None:
    """Take the current folder off :data:`sys.path`."""
    sys.path[:] = without_current_folder(sys.path)


def modules_of_current_folder() -> dict[str, str]:
    """Files of the modules that this process has imported from the current folder, by name.

    Functions of the user's own are in such modules. Workers import exactly these.
    """
    left_out = set(sys.path) - set(without_current_folder(sys.path))
    places = {os.path.realpath(each or ".") for each in left_out}
    found = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if places and file and "." not in name and name != "__main__":
            folder = _parent(file)
            if os.path.basename(file) == "__init__.py":  # noqa: PTH119
                folder = _parent(folder)
            if os.path.realpath(folder) in places:
                found[name] = file
    return found


def import_from_files(files: dict[str, str]) -> None:
    """Find modules in these files, by name, where the search path has none of that name."""
    from importlib.util import spec_from_file_location

    class Finder:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> "ModuleSpec | None":
            return spec_from_file_location(name, files[name]) if name in files else None

    sys.meta_path.append(Finder)
