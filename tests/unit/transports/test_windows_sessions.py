"""What ``query session`` prints, in several languages, and which session is chosen.

The tables have the column layout of Windows 10, 11 and Server; those in other languages than English are made up of it
and of Windows' own words.
"""

from __future__ import annotations

import pytest

from ras_runner.errors import OperatorError
from ras_runner.transports.windows_sessions import WindowsSession, choose_session, read_sessions

ENGLISH = """\
 SESSIONNAME       USERNAME                 ID  STATE   TYPE        DEVICE
 services                                    0  Disc
>console           Administrator             1  Active
                   jo smith                  3  Disc
 rdp-tcp#12        1234                      4  Active
 rdp-tcp                                 65536  Listen
"""
GERMAN = """\
 SITZUNGSNAME      BENUTZERNAME             ID  STATUS  TYP         GERÄT
 services                                    0  Getr.
 console                                     2  Verb.
>rdp-tcp#0         müller                    5  Aktiv
                   schmidt                   6  Getr.
 rdp-tcp                                 65536  Abh.
"""
FRENCH = """\
 SESSION           UTILISATEUR              ID  ÉTAT    TYPE        PÉRIPHÉRIQUE
>services                                    0  Déco
 console           élise                     1  Actif
"""


def test_every_line_is_read():
    assert read_sessions(ENGLISH) == [
        WindowsSession(0, "services", "", "Disc"),
        WindowsSession(1, "console", "Administrator", "Active"),
        WindowsSession(3, "", "jo smith", "Disc"),
        WindowsSession(4, "rdp-tcp#12", "1234", "Active"),
        WindowsSession(65536, "rdp-tcp", "", "Listen"),
    ]


@pytest.mark.parametrize(("table", "active"), [(ENGLISH, [1, 4]), (GERMAN, [5]), (FRENCH, [1]), ("", [])])
def test_active_sessions_in_any_language(table: str, active: list[int]):
    assert [session.id for session in read_sessions(table.replace("\n", "\r\n")) if session.active] == active


@pytest.mark.parametrize(
    ("user", "chosen"),
    [("Administrator", 1), ("OFFICE\\administrator", 1), ("1234@office.example", 4), ("", 1)],
)
def test_auto_takes_the_active_session_of_the_user(user: str, chosen: int):
    assert choose_session(read_sessions(ENGLISH), "auto", user, "pc7").id == chosen


@pytest.mark.parametrize("code_page", ["cp850", "cp1252", "utf-8"])
def test_a_name_in_the_hosts_code_page_is_the_users(code_page: str):
    printed = ENGLISH.replace("jo smith                  3  Disc", "").replace("Administrator", "Müller       ")
    data = printed.encode(code_page)
    output = data.decode("utf-8") if code_page == "utf-8" else data.decode("latin-1")
    assert choose_session(read_sessions(output), "auto", "OFFICE\\müller", "pc7").id == 1


def test_a_given_session_has_to_be_active():
    assert choose_session(read_sessions(ENGLISH), 4, "Administrator", "pc7").id == 4
    for wanted in (3, 7, 65536):
        with pytest.raises(OperatorError, match=rf"session {wanted} is not Active.*jo smith, not connected, Disc"):
            choose_session(read_sessions(ENGLISH), wanted, "", "pc7")
    with pytest.raises(OperatorError, match="session 0 is that of the services and has no desktop"):
        choose_session(read_sessions(ENGLISH), 0, "", "pc7")


def test_nobody_on_the_desktop_shows_who_there_is():
    with pytest.raises(OperatorError, match=r"schmidt has no Active session.*6 \(schmidt, not connected, Getr\.\)"):
        choose_session(read_sessions(GERMAN), "auto", "schmidt", "pc7")
    with pytest.raises(OperatorError, match="nobody has an Active session"):
        choose_session(read_sessions(ENGLISH)[:1], "auto", "", "pc7")
