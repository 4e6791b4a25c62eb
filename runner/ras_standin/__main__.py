"""``python -m ras_standin``."""

import sys

from ras_standin.cli import main

if __name__ == "__main__":
    sys.exit(main())
