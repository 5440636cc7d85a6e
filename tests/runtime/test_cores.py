"""As many workers as cores."""

import os
import subprocess
import sys

import pytest


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system binds no process")
def test_a_process_that_is_bound_to_one_core_has_one_worker() -> None:
    core = min(os.sched_getaffinity(0))
    command = (
        f"import os; os.sched_setaffinity(0, [{core}]);"
        "from activeindex.runtime.cores import default_workers; print(default_workers())"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, check=True)
    assert done.stdout == b"1\n"
