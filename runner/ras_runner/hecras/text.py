"""HEC-RAS text files: Latin-1, CRLF or LF, lines of ``Key=value``, free text between description marks."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

from ras_runner.errors import InputError

ENCODING = "latin-1"
#: What may stand around keys and values. str.strip() alone also takes 0x85 and 0xA0, the last byte of a UTF-8 letter.
BLANKS = " \t"

_LINE_END = re.compile(r"\r\n|\n|\r")
_DATE = re.compile(r"(\d{1,2})([A-Za-z]{3})(\d{4})(?:[\s,]+(\d{1,2}):?(\d{2})(?::?(\d{2})(?:[.:]\d+)?)?)?", re.ASCII)
_INTERVAL = re.compile(r"(\d+(?:\.\d+)?)\s*(SEC|MIN|HOUR|DAY|WEEK|MON|YEAR)[A-Z]*", re.IGNORECASE | re.ASCII)
# Own table: strptime's month names follow the locale of the machine.
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_SECONDS = {"SEC": 1, "MIN": 60, "HOUR": 3600, "DAY": 86400, "WEEK": 604800, "MON": 30 * 86400, "YEAR": 365 * 86400}


def read_text(path: Path, *, step: str = "read project") -> str:
    """The text of a HEC-RAS text file, line ends as they are, a UTF-8 byte order mark removed.

    Raises:
        InputError: the file is missing, is not a regular file, cannot be read, or is binary (holds NUL bytes).
    """
    if not path.exists():
        raise InputError(f"{path} does not exist", step=step, action="check the name, or restore the file")
    if not path.is_file():  # a pipe or a device would block the read
        raise InputError(f"{path} is not a regular file", step=step, action="put the HEC-RAS text file in its place")
    try:
        data = path.read_bytes()
    except OSError as error:
        cause = f"{path} cannot be read: {error.strerror or error}"
        raise InputError(cause, step=step, action="check the file's permissions and the disk or share") from error
    if b"\0" in data:
        cause = f"{path} is not a text file (it holds NUL bytes: damaged, or another format)"
        raise InputError(cause, step=step, action="open and save it in HEC-RAS, or restore it from a backup")
    return data.removeprefix(b"\xef\xbb\xbf").decode(ENCODING)


def lines(text: str) -> list[str]:
    """Lines without their ends. Unlike ``str.splitlines``, Latin-1 control characters such as 0x85 do not split."""
    return _LINE_END.split(text)


def lines_with_ends(text: str) -> list[tuple[str, str]]:
    """Pairs of (line, line end) whose concatenation is the text, byte for byte."""
    parts = re.split(f"({_LINE_END.pattern})", text)
    parts.append("")
    return list(zip(parts[0::2], parts[1::2], strict=True))


def described(all_lines: list[str]) -> set[int]:
    """Indexes of the lines within ``BEGIN DESCRIPTION:`` ... ``END DESCRIPTION:`` (free text, not keys)."""
    inside: set[int] = set()
    begin: int | None = None
    for index, line in enumerate(all_lines):
        mark = line.strip().upper()
        if begin is None and mark.startswith("BEGIN DESCRIPTION"):
            begin = index
        elif begin is not None and mark.startswith("END DESCRIPTION"):
            inside.update(range(begin, index + 1))
            begin = None
    return inside


@lru_cache(maxsize=8)  # one file is looked at from several sides
def pairs(text: str) -> tuple[tuple[str, str], ...]:
    """The ``Key=value`` lines in order, keys and values stripped; descriptions and other lines are left out."""
    all_lines = lines(text)
    skip = described(all_lines)
    split = (line.partition("=") for index, line in enumerate(all_lines) if "=" in line and index not in skip)
    return tuple((key.strip(BLANKS), value.strip(BLANKS)) for key, _, value in split)


def key_values(text: str) -> dict[str, list[str]]:
    """Every value of every key, in the order of the file."""
    values: dict[str, list[str]] = {}
    for key, value in pairs(text):
        values.setdefault(key, []).append(value)
    return values


def as_written(value: str) -> str:
    """A name as its author wrote it: HEC-RAS writes Latin-1, other tools write UTF-8 into the same file."""
    try:
        return value.encode(ENCODING).decode("utf-8")
    except UnicodeError:
        return value


def shown(value: str) -> str:
    """A title to show: as written, with blanks for what would disturb a terminal or a page (control characters)."""
    return "".join(letter if letter.isprintable() else " " for letter in as_written(value))


def parse_date(text: str) -> datetime:
    """``02JAN1900,0000``, ``02JAN1900 2400`` or ``02Jan1900 01:20:00``; 2400 is midnight at the end of that day.

    Raises:
        ValueError: it is no such date.
    """
    match = _DATE.fullmatch(text.strip())
    if match is None or match[2].upper() not in _MONTHS:
        raise ValueError(f"{text!r} is not a date such as 02JAN1900,0000")
    hours, minutes, seconds = (int(match[n] or 0) for n in (4, 5, 6))
    if hours > 24 or minutes > 59 or seconds > 59 or (hours == 24 and (minutes or seconds)):
        raise ValueError(f"{text!r} has no valid time of day")
    try:
        day = datetime(int(match[3]), _MONTHS.index(match[2].upper()) + 1, int(match[1]))
        return day + timedelta(hours=hours, minutes=minutes, seconds=seconds)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is no day of the calendar") from error


def parse_interval(text: str) -> timedelta:
    """``10SEC``, ``0.5SEC``, ``5MIN``, ``1HOUR``, ``1DAY``, ``1WEEK``; a month counts 30 and a year 365 days.

    Raises:
        ValueError: it is no such interval, or it is zero.
    """
    match = _INTERVAL.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not an interval such as 10SEC, 5MIN or 1HOUR")
    try:
        interval = timedelta(seconds=float(match[1]) * _SECONDS[match[2].upper()])
    except OverflowError as error:
        raise ValueError(f"{text!r} is too long an interval") from error
    if not interval:
        raise ValueError(f"{text!r} is an interval of zero")
    return interval
