"""The PowerShell programs as texts, and what is made of their answers. PowerShell itself is not there."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import tree_sitter
import tree_sitter_powershell
from tests.simulators.windows_host.smbd import PASSWORD, USER
from tests.simulators.winrm.host import PROGRAMS
from tests.winrm.conftest import WinRmHost

import winrm
from ras_runner.engines.cmdline import MAX_LINE
from ras_runner.errors import OperatorError, RasRunnerError, TransientError, WorkerError
from ras_runner.transports import windows_powershell
from ras_runner.transports.windows_powershell import PowerShell, Ran, command_line, script_text

FOLDER = Path(windows_powershell.__file__).parent / "windows_scripts"
SCRIPTS = sorted(path.stem for path in FOLDER.iterdir())
NAMES = ['$(calc) `n "x"', "a'b; rm *", "Río 測試 & %PATH%", "[x].hdf"]


def nodes(node: tree_sitter.Node) -> Iterator[tree_sitter.Node]:
    """A node and all below it."""
    yield node
    for child in node.children:
        yield from nodes(child)


@pytest.mark.parametrize("name", SCRIPTS)
def test_programs_are_powershell(name: str):
    language = tree_sitter.Language(tree_sitter_powershell.language())
    tree = tree_sitter.Parser(language).parse((FOLDER / f"{name}.ps1").read_bytes())
    wrong = [f"line {n.start_point.row + 1}: {n.text!r}" for n in nodes(tree.root_node) if n.is_error or n.is_missing]
    assert wrong == []


def test_a_wrong_program_is_seen_by_that_test():
    language = tree_sitter.Language(tree_sitter_powershell.language())
    tree = tree_sitter.Parser(language).parse(b"foreach ($x in $y { $x }")
    assert tree.root_node.has_error


@pytest.mark.parametrize("name", SCRIPTS)
def test_programs_use_nothing_newer_than_powershell_5(name: str):
    text = script_text(name)
    newer = (" && ", " || ", "??", "?.", "-Parallel", "-AsHashtable", "-AsByteStream", "Join-String", "Test-Json")
    assert not [sign for sign in newer if sign in text]
    assert "Invoke-Expression" not in text
    assert "iex " not in text


def test_every_program_has_its_like_on_the_simulated_host():
    assert sorted([*PROGRAMS, "bootstrap"]) == SCRIPTS


def test_the_command_line_is_short_enough_for_cmd_and_always_the_same():
    assert len(command_line()) < MAX_LINE // 2
    encoded = command_line().split()[-1]
    assert base64.b64decode(encoded).decode("utf-16-le") == script_text("bootstrap")


def test_the_simulated_host_runs_nothing_but_our_programs(winrm_host: WinRmHost):
    login = {"auth": (USER, PASSWORD), "transport": "ntlm", "ca_trust_path": str(winrm_host.issuer.path)}
    session = winrm.Session(f"https://localhost:{winrm_host.server.port}/wsman", **login)
    done = session.run_cmd("whoami", ["/all"])
    assert done.status_code == 1
    assert b"is not recognized" in done.std_err
    changed = json.dumps({"script": script_text("remove") + "#", "parameters": {"path": "Z:\\"}}).encode()
    answer = winrm_host.host.execute(command_line(), base64.b64encode(changed), USER)
    assert b'"ok": false' in base64.b64decode(answer.stdout.split()[-1])
    assert len(winrm_host.host.unknown) == 2


class Recorded:
    """A way to a host that answers what it is told to, and remembers what it was asked."""

    host = "ws1"

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, bytes]] = []

    def run(self, command: str, stdin: bytes, *, step: str, limit: float) -> Ran:
        self.asked.append((command, stdin))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Ran):
            return answer
        return Ran(0, b"ras-runner " + base64.b64encode(json.dumps(answer).encode()) + b"\r\n", "")


def test_names_travel_as_data_and_never_in_a_command():
    shell = Recorded({"ok": True, "value": {"sizes": [1, -1]}})
    asked = {"paths": NAMES}
    assert PowerShell(shell, r"C:\R").call("stored", asked, step="stage") == {"sizes": [1, -1]}
    ((command, stdin),) = shell.asked
    assert command == command_line()
    assert stdin.isascii()
    assert max(map(len, stdin.splitlines())) <= 32768
    call = json.loads(base64.b64decode(b"".join(stdin.split())))
    assert call == {"script": script_text("stored"), "parameters": asked}


def test_an_answer_among_other_lines_is_found():
    answer = base64.b64encode(b'{"ok": true, "value": {"a": 1}}')
    shell = Recorded(Ran(0, b"Welcome!\r\nras-runner " + answer + b"\r\nBye\r\n", "#< CLIXML <Objs/>"))
    assert PowerShell(shell, r"C:\R").call("look", {}, step="poll") == {"a": 1}


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (
            {"ok": False, "type": "IOException", "code": -2147024784, "message": "x"},
            OperatorError,
            "disk of the worker",
        ),
        ({"ok": False, "type": "UnauthorizedAccessException", "message": "no"}, OperatorError, "give the user"),
        ({"ok": False, "type": "IOException", "code": 1, "message": "odd"}, WorkerError, "odd (IOException)"),
        (Ran(1, b"", "powershell.exe is not recognized"), OperatorError, "is not recognized"),
        (Ran(0, b"ras-runner !!!", ""), OperatorError, "gave no answer"),
    ],
)
def test_failures_are_typed_and_name_host_and_step(answer: object, kind: type[RasRunnerError], said: str):
    with pytest.raises(kind) as caught:
        PowerShell(Recorded(answer), r"C:\R").call("write", {}, step="stage")
    assert said in str(caught.value)
    assert str(caught.value).startswith("ws1: stage: ")


def test_a_lost_answer_is_asked_for_again_but_not_where_that_would_do_harm():
    lost = TransientError("lost")
    shell = Recorded(lost, {"ok": True, "value": {}})
    PowerShell(shell, r"C:\R").call("stored", {}, step="stage")
    assert len(shell.asked) == 2
    shell = Recorded(lost, {"ok": True, "value": {}})
    with pytest.raises(TransientError):
        PowerShell(shell, r"C:\R").call("launch", {}, step="launch", once=True)
    assert len(shell.asked) == 1
