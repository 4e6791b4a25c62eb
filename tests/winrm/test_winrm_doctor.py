"""``ras-runner doctor`` and ``sessions`` on a simulated Windows host behind WinRM."""

from typing import Any

from tests.simulators.windows_host.state import SERVICES_SESSION
from tests.windows.conftest import WindowsRunner
from tests.winrm.conftest import WinRmHost


def examined(runner: WindowsRunner, code: int) -> dict[str, dict[str, Any]]:
    (host,) = runner.json("doctor", "-i", runner.inventory, "--json", code=code)
    return {check["requirement"]: check for check in host["checks"]}


def test_a_host_that_is_well_and_one_where_nobody_is_logged_on(runner: WindowsRunner, winrm_host: WinRmHost):
    well = examined(runner, 0)
    assert {check["verdict"] for check in well.values()} <= {"ok", "not checked"}
    assert winrm_host.host.calls == ["facts"]
    winrm_host.host.state.sessions = [SERVICES_SESSION]
    checks = examined(runner, 3)
    assert [name for name, check in checks.items() if check["verdict"] == "failed"] == ["windows-session"]
    assert checks["windows-session"]["role"] == "windows_session"
    done = runner.run("sessions", "here", "-i", runner.inventory, code=3)
    assert "has no Active session" in done.stderr
