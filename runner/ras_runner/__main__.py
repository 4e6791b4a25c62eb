"""``python -m ras_runner``."""

from ras_runner.cli import main

if __name__ == "__main__":
    main()
