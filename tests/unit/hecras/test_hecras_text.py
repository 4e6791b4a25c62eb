"""Latin-1 text files: lines, keys, dates, intervals."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ras_runner.errors import InputError
from ras_runner.hecras.text import key_values, lines_with_ends, parse_date, parse_interval, read_text, shown

_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
latin1 = st.text(st.characters(codec="latin-1"), max_size=300)


@given(st.datetimes(min_value=datetime(1000, 1, 1), max_value=datetime(9999, 12, 30)))
def test_dates_survive_the_round_trip_in_every_spelling(moment: datetime) -> None:
    moment = moment.replace(second=0, microsecond=0)
    day = f"{moment.day:02d}{_MONTHS[moment.month - 1]}{moment.year}"
    for written in (f"{day},{moment:%H%M}", f"{day.title()} {moment:%H:%M}:00", f" {day} {moment:%H%M} "):
        assert parse_date(written) == moment


def test_2400_is_the_midnight_that_ends_the_day() -> None:
    assert parse_date("28FEB2024,2400") == parse_date("29FEB2024,0000") == datetime(2024, 2, 29)
    assert parse_date("31DEC1999 24:00:00") == datetime(2000, 1, 1)


@pytest.mark.parametrize("text", ["", "30FEB2024,0000", "01XYZ2024,0000", "01JAN2024,2430", "31DEC9999,2400", "1.1.24"])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_date(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10SEC", 10),
        ("0.5SEC", 0.5),
        ("5MIN", 300),
        ("1HOUR", 3600),
        ("2Hours", 7200),
        (" 1DAY ", 86400),
        ("1WEEK", 604800),
    ],
)
def test_intervals(text: str, seconds: float) -> None:
    assert parse_interval(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "MIN", "5", "0SEC", "-5MIN", "5 parsecs", "9" * 30 + "YEAR"])
def test_what_is_no_interval_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_interval(text)


def test_keys_are_stripped_and_descriptions_are_no_keys() -> None:
    text = "Geom File = g01\r\nBEGIN DESCRIPTION:\r\nGeom File=g99\r\nEND DESCRIPTION:\r\nA=1=2\nA=3\nno key\n"
    assert key_values(text) == {"Geom File": ["g01"], "A": ["1=2", "3"]}


def test_an_unclosed_description_hides_nothing() -> None:
    assert key_values("BEGIN DESCRIPTION:\nGeom File=g01\n")["Geom File"] == ["g01"]


@given(latin1)
def test_lines_with_ends_lose_no_byte(text: str) -> None:
    assert "".join(line + end for line, end in lines_with_ends(text)) == text


@given(st.dictionaries(st.from_regex(r"[A-Z][a-z ]{0,8}[a-z]", fullmatch=True), st.text("01,\x85\xa0é=")))
def test_keys_and_values_survive_the_round_trip(values: dict[str, str]) -> None:
    written = "\r\n".join(f"{key}={value}" for key, value in values.items())
    assert key_values(written) == {key: [value] for key, value in values.items()}


def test_titles_are_shown_as_their_author_wrote_them_and_tame() -> None:
    assert shown("Überflutung".encode().decode("latin-1")) == "Überflutung"
    assert shown("Überflutung") == "Überflutung"
    assert shown("a\x1b[31mb") == "a [31mb"


def test_read_text_names_the_file_and_the_trouble(tmp_path: Path) -> None:
    binary = tmp_path / "Model.p01"
    binary.write_bytes(b"Plan Title=x\0\0")
    with pytest.raises(InputError, match=r"Model\.p01 is not a text file"):
        read_text(binary)
    with pytest.raises(InputError, match="does not exist"):
        read_text(tmp_path / "absent.p01")
    with pytest.raises(InputError, match="not a regular file"):
        read_text(tmp_path)


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "x.prj"
    path.write_bytes(b"\xef\xbb\xbfProj Title=t\n")
    assert key_values(read_text(path)) == {"Proj Title": ["t"]}
