"""HEC-RAS text files: how they are found, cut into lines, numbers, intervals and dates.

HEC-RAS writes Latin-1 with CRLF line ends, numbers in columns of 8 (or 16) characters, and names with Windows'
disregard of case; files that came through git or a Linux machine may have LF line ends and another case.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from ras_standin.errors import UsageError
from ras_standin.geometry import Array

_SECONDS = {"SEC": 1, "MIN": 60, "HOUR": 3600, "DAY": 86400, "WEEK": 604800}


def find(path: Path) -> Path | None:
    """Return the file that Windows would open as ``path``: the name's case and Unicode form do not matter."""
    if path.is_file():
        return path
    wanted = _folded(path.name)
    if not path.parent.is_dir():
        return None
    return next((entry for entry in sorted(path.parent.iterdir()) if _folded(entry.name) == wanted), None)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def read_text(path: Path, what: str) -> str:
    """Return the text of the file that ``path`` names.

    Raises:
        UsageError: there is no such file; the message says ``what`` it was wanted for.
    """
    found = find(path)
    if found is None:
        raise UsageError(f"{what} {path} does not exist")
    return found.read_text(encoding="latin-1")


def settings(text: str) -> dict[str, str]:
    """``Key=value`` lines as a dictionary; of a repeated key the first value counts."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            found.setdefault(key.strip(), value.strip())
    return found


def seconds(interval: str, where: str) -> float:
    """Length of an interval such as ``10SEC``, ``1MIN`` or ``1HOUR``, in seconds."""
    match = re.fullmatch(r"\s*([\d.]+)\s*([A-Z]+?)S?\s*", interval.upper())
    if match is None or match[2] not in _SECONDS or float(match[1]) <= 0:
        raise UsageError(f"{where}: {interval!r} is not an interval such as 10SEC, 5MIN or 1HOUR")
    return float(match[1]) * _SECONDS[match[2]]


def moment(date: str, time: str, where: str) -> datetime:
    """Date and time such as ``02JAN2026`` and ``2400`` (midnight that ends the day)."""
    clock = time.strip().replace(":", "") or "0000"
    try:
        day = datetime.strptime(date.strip().title(), "%d%b%Y")
        return day + timedelta(hours=int(clock[:2]), minutes=int(clock[2:4] or 0))
    except ValueError:
        raise UsageError(f"{where}: {date},{time} is not a date and time such as 02JAN2026,2400") from None


class Lines:
    """The lines of a text file, with its name for messages."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self._lines = text.splitlines()

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, index: int) -> str:
        return self._lines[index]

    def item(self, index: int) -> tuple[str, str]:
        """Key and value of line ``index``; the value is empty on lines without ``=``."""
        key, _, value = self._lines[index].partition("=")
        return key.strip(), value.strip()

    def number(self, index: int, field: int = 0) -> float:
        """The number in comma-separated ``field`` of the value of line ``index``."""
        try:
            return float(self.item(index)[1].split(",")[field])
        except (ValueError, IndexError):
            raise UsageError(f"{self.name}, line {index + 1}: no number in {self._lines[index]!r}") from None

    def count(self, index: int) -> int:
        """The whole number that begins the value of line ``index`` (how many values follow)."""
        return int(self.number(index))

    def columns(self, index: int, count: int, width: int = 8, blanks: bool = False) -> tuple[Array, int]:
        """Read ``count`` numbers in columns of ``width`` from line ``index`` on.

        Returns:
            The numbers (blank columns are NaN, allowed with ``blanks`` only) and the index of the next line.

        Raises:
            UsageError: the file ends, or another key begins, before all numbers are read.
        """
        start, values = index, list[float]()
        while len(values) < count and index < len(self) and "=" not in self._lines[index]:
            line = self._lines[index].rstrip()
            fields = [line[at : at + width].strip() for at in range(0, len(line), width)]
            try:
                values += [float(field) if field else np.nan for field in fields]
            except ValueError:
                raise UsageError(f"{self.name}, line {index + 1}: not a number in {line!r}") from None
            index += 1
        if len(values) < count and blanks:
            values += [np.nan] * (count - len(values))
        result = np.array(values[:count])
        if len(result) < count or (not blanks and np.isnan(result).any()):
            raise UsageError(f"{self.name}, line {start + 1}: expected {count} numbers, found {len(values)}")
        return result, index
