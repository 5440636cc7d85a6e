"""The seed's spelling of ``activeindex prepare_disc``: ``python -m activeindex.prepare_disc``."""

import sys

from activeindex.__main__ import start

if __name__ == "__main__":
    sys.exit(start("prepare_disc"))
