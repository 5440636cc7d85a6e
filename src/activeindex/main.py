"""The seed's spelling of ``activeindex main``: ``python -m activeindex.main``."""

import sys

from activeindex.__main__ import start

if __name__ == "__main__":
    sys.exit(start("main"))
