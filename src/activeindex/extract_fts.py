"""The seed's spelling of ``activeindex extract_fts``: ``python -m activeindex.extract_fts``."""

import sys

from activeindex.__main__ import start

if __name__ == "__main__":
    sys.exit(start("extract_fts"))
