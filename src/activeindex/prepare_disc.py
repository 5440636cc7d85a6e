"""The seed's spelling of ``activeindex prepare_disc``: ``python -m activeindex.prepare_disc``."""

import sys

from activeindex.cli import run_command

if __name__ == "__main__":
    sys.exit(run_command("prepare_disc"))
