"""The seed's spelling of ``activeindex extract_fts``: ``python -m activeindex.extract_fts``."""

import sys

from activeindex.cli import run_command

if __name__ == "__main__":
    sys.exit(run_command("extract_fts"))
