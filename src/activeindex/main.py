"""The seed's spelling of ``activeindex main``: ``python -m activeindex.main``."""

import sys

from activeindex.cli import run_command

if __name__ == "__main__":
    sys.exit(run_command("main"))
