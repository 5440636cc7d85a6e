"""``python -m activeindex …`` is ``activeindex …``."""

import sys

from activeindex.cli import run

if __name__ == "__main__":
    sys.exit(run())
