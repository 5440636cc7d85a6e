"""Interrupts a map at one moment after another, each right after a lock was taken; prints how many.

Run by test_pool.py in a process of its own, which can be ended should it hang.
"""

import sys
import threading
from types import FrameType

from activeindex.runtime.pool import LocalEngine

_TAKEN = threading.Condition.__enter__.__code__


def interrupt_at(moment: int) -> bool:
    """Whether the main thread took so many locks before it was through."""
    left = moment

    def watch(frame: FrameType, event: str, _: object) -> None:
        nonlocal left
        if event == "return" and frame.f_code is _TAKEN:
            left -= 1
            if left == 0:
                sys.setprofile(None)
                raise KeyboardInterrupt

    try:
        with LocalEngine(2) as workers:
            results = workers.map(abs, range(-40, 0))
            sys.setprofile(watch)
            for _ in results:
                pass
            sys.setprofile(None)
    except KeyboardInterrupt:
        return True
    return False


if __name__ == "__main__":
    print(sum(interrupt_at(moment) for moment in (1, 2, 3, 5, 8, 13, 21, 34)))
