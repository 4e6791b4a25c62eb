"""What the engine says while it runs: standard output, ``.computeMsgs.txt`` and ``.bcoNN``, flushed line by line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TextIO


class LineFile:
    """A Latin-1 text file with CRLF line ends that readers may follow while it grows."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("w", encoding="latin-1", errors="replace", newline="\r\n")

    def write(self, text: str) -> None:
        """Append ``text`` and a line end, and flush."""
        self._file.write(text + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class RunLog:
    """Messages and progress of one run.

    Args:
        messages: path of the ``.computeMsgs.txt`` to keep; none for the Linux programs, which write to stdout only.
    """

    def __init__(self, messages: Path | None = None) -> None:
        self._file = LineFile(messages) if messages else None
        self._lines: list[str] = []

    def close(self) -> None:
        """Close the file of compute messages."""
        if self._file:
            self._file.close()

    def message(self, text: str = "") -> None:
        """Say ``text`` (one or more lines)."""
        self._lines += text.split("\n")
        self._emit(text)

    def progress(self, fraction: float) -> None:
        """Say which fraction of the run is done, as HEC-RAS 6 does: ``Progress | 0.4846806``."""
        self._emit(f"Progress | {fraction:.7g}")

    def last_words(self, text: str) -> None:
        """Write ``text`` to the file of compute messages only: what Ras.exe adds when its solver has crashed."""
        if self._file:
            self._file.write(text)

    def text(self) -> str:
        """All messages so far, without the progress lines."""
        return "\n".join(self._lines) + "\n"

    def _emit(self, text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
        if self._file:
            self._file.write(text)
