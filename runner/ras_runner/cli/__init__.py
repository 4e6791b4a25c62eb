"""The command line. stdout is data, stderr is talk."""

from __future__ import annotations


def main() -> None:
    """Entry point of ``ras-runner``."""
    from ras_runner.cli.app import run

    run()
