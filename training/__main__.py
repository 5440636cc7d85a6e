"""``python -m training``."""

import sys

from training.options import main

if __name__ == "__main__":
    sys.exit(main())
