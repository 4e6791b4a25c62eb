"""The doctor's own logic; what it finds on real hosts is tested with each worker type."""

import re
import socket
import threading
from importlib.resources import files
from pathlib import Path

import pytest

from ras_runner.errors import OperatorError
from ras_runner.fleet import doctor
from ras_runner.fleet.checks import common, windows
from ras_runner.fleet.doctor import Check, Finding, Verdict, examine, requirements
from ras_runner.fleet.inventory import WorkerEntry
from ras_runner.workers.registry import WORKER_TYPES, is_group

FACTS = {
    "computer": "PC1",
    "build": 22631,
    "user": "PC1\\ras",
    "sids": ["S-1-5-21-1-2-3-1001", "S-1-5-32-544", "S-1-5-32-545"],
    "administrator": True,
    "token_filter_policy": 1,
    "remote_registry": ["Running", "Auto"],
    "sessions": "",
    "rights": [
        "SeNetworkLogonRight = *S-1-1-0,*S-1-5-32-544",
        "SeInteractiveLogonRight = Guest,*S-1-5-32-545",
        "SeBatchLogonRight = ras",
    ],
    "ras_exe": ["C:\\Program Files (x86)\\HEC\\HEC-RAS\\6.6\\Ras.exe"],
    "folder_exists": True,
    "free": 1 << 40,
    "cores": 8,
    "memory": 1 << 34,
    "now": 1_800_000_000,
}


def facts(**changes: object) -> windows.WindowsFacts:
    return windows.WindowsFacts.model_validate({**FACTS, **changes})


def wanted(version: str = "") -> windows.Wanted:
    return windows.Wanted("pc1", r"C:\RasRemote", "hecras-windows", "", version, 8)


def host(monkeypatch: pytest.MonkeyPatch, *checks: Check) -> WorkerEntry:
    """A host of a worker type that has these checks."""
    module = type("Module", (), {"checks": staticmethod(lambda _: list(checks))})
    monkeypatch.setitem(doctor.CHECKS, "made-up", "made.up")
    monkeypatch.setattr(doctor, "import_module", lambda _: module)
    return WorkerEntry("a", "made-up", {"worker_id": "a"})


def found(verdict: Verdict):
    return lambda: Finding(verdict, "seen")


def test_every_worker_type_is_examined():
    """Those of groups by one module, which asks the group itself."""
    assert set(doctor.CHECKS) == {name for name in WORKER_TYPES if not is_group(name)}


def test_checks_name_only_requirements_of_the_table():
    folder = files("ras_runner.fleet.checks")
    named = {
        name
        for file in folder.iterdir()
        if file.name.endswith(".py")
        for name in re.findall(r'Check\(\s*"([a-z-]+)"', file.read_text(encoding="utf-8"))
    }
    assert named - set(requirements()) == set()
    assert len(named) > 8


def test_roles_of_the_table_are_there():
    roles = Path(__file__).parents[3] / "roles"
    named = {requirement.role for requirement in requirements().values() if requirement.role}
    assert {role for role in named if not (roles / role).is_dir()} == set()


def test_what_needs_a_failed_check_is_not_checked_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch):
    entry = host(
        monkeypatch,
        Check("port-open", found(Verdict.FAILED)),
        Check("login", found(Verdict.OK), ("port-open",)),
        Check("disk", found(Verdict.OK), ("login",)),
        Check("cores", found(Verdict.WARNING)),
    )
    rows = examine([entry])[0].rows
    assert [row.finding.verdict.value for row in rows] == ["failed", "not checked", "not checked", "warning"]
    assert rows[1].finding.evidence == "not so long as this is not met: the port answers"
    assert rows[0].remedy.startswith("switch the machine on")
    assert rows[1].remedy == ""


def test_errors_are_findings_with_their_own_action(monkeypatch: pytest.MonkeyPatch):
    def look() -> Finding:
        raise OperatorError("the key is not known", action="accept it", host="a", step="log on")

    row = examine([host(monkeypatch, Check("login", look))])[0].rows[0]
    assert (row.finding.verdict, row.finding.evidence, row.remedy) == (
        Verdict.FAILED,
        "the key is not known",
        "accept it",
    )


def test_hosts_are_looked_at_at_once(monkeypatch: pytest.MonkeyPatch):
    together = threading.Barrier(20, timeout=30)

    def look() -> Finding:
        together.wait()
        return Finding(Verdict.OK, "")

    entry = host(monkeypatch, Check("login", look))
    assert [examination.failed for examination in examine([entry] * 20)] == [False] * 20


def test_a_closed_port_and_a_name_that_is_none():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        closed = common.answers("127.0.0.1", port, "SSH")
        taken.listen()
        assert common.answers("127.0.0.1", port, "SSH").verdict is Verdict.OK
    assert closed.verdict is Verdict.FAILED
    assert "refused" in closed.evidence
    assert common.resolves("no such host.invalid", 22).verdict is Verdict.FAILED
    assert common.resolves("127.0.0.1", 22).evidence == "127.0.0.1"


@pytest.mark.parametrize(
    ("free", "verdict"), [(0, Verdict.FAILED), (5 << 30, Verdict.WARNING), (100 << 30, Verdict.OK)]
)
def test_disk(free: int, verdict: Verdict):
    assert common.disk(free, "/w").verdict is verdict


def test_an_hour_of_skew_is_told_and_a_slow_answer_is_none():
    assert common.skew(-3600.0, 1.0).evidence == "its clock is 3599 s behind ours"
    assert common.skew(65.0, 10.0).verdict is Verdict.OK


def test_a_good_windows_host():
    good = facts()
    looks = (windows.administrator(good), windows.remote_registry(good), windows.user_rights(good))
    assert [look.verdict for look in (*looks, windows.engine(good, wanted("6.6")))] == [Verdict.OK] * 4


def test_a_filtered_token_is_told_from_a_user_without_rights():
    filtered = windows.administrator(facts(administrator=False, token_filter_policy=None))
    assert "LocalAccountTokenFilterPolicy is not set" in filtered.evidence
    none = windows.administrator(facts(administrator=False, sids=["S-1-5-21-1"]))
    assert none.evidence == "PC1\\ras is not in Administrators of PC1"


def test_rights_that_lack_are_named():
    finding = windows.user_rights(facts(rights=["SeBatchLogonRight = other", *FACTS["rights"][:2]]))
    assert finding.evidence == "PC1\\ras lacks SeBatchLogonRight (log on as a batch job)"
    assert windows.user_rights(facts(rights=None)).verdict is Verdict.NOT_CHECKED


@pytest.mark.parametrize(
    ("service", "verdict"),
    [((), "failed"), (("Stopped", "Disabled"), "failed"), (("Running", "Manual"), "warning")],
)
def test_remote_registry(service: tuple[str, ...], verdict: str):
    assert windows.remote_registry(facts(remote_registry=service)).verdict.value == verdict


def test_hecras_that_lacks_is_of_another_version_or_on_old_windows():
    assert "there is no Ras.exe" in windows.engine(facts(ras_exe=()), wanted()).evidence
    assert windows.engine(facts(), wanted("6.5")).evidence.startswith("version 6.5 is not there, but C:\\")
    assert windows.engine(facts(build=9600), wanted()).verdict is Verdict.WARNING


def test_wrong_variables_of_one_host_do_not_hide_the_others():
    entries = [
        WorkerEntry("a", "local", {"worker_id": "a", "cores_totl": 4}),
        WorkerEntry("b", "", {}),
        WorkerEntry("c", "lokal", {}),
        WorkerEntry("d", "local", {"worker_id": "d", "engine": "standin"}),
    ]
    by_name = {examination.worker_id: examination for examination in examine(entries)}
    assert "unknown parameter 'cores_totl'" in by_name["a"].rows[0].finding.evidence
    assert by_name["b"].rows[0].finding.evidence.startswith("it is in no worker group")
    assert by_name["c"].rows[0].finding.evidence == "it has an unknown worker type 'lokal'"
    assert len(by_name["d"].rows) == 4
