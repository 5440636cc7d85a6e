"""Processor cores; imported before anything heavy, for the default of an option."""

import os


def default_workers() -> int:
    """Number of workers by default: one per core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
