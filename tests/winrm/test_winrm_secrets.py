"""The password of a WinRM worker is nowhere: not in files, output, logs, errors, reprs, or on any command line."""

from __future__ import annotations

import base64
import logging
import threading
from pathlib import Path

import pytest
from tests.commands import Runner
from tests.simulators.windows_host.smbd import PASSWORD, USER
from tests.winrm.conftest import PASSWORD_VARIABLE, WinRmHost

from ras_runner import init_ras_worker
from ras_runner.errors import OperatorError
from ras_runner.hecras.project import Project

NEEDLES = (
    PASSWORD.encode(),
    PASSWORD.encode("utf-16-le"),
    base64.b64encode(PASSWORD.encode()).rstrip(b"="),
    base64.b64encode(f"{USER}:{PASSWORD}".encode()),
)


def found_in(data: bytes) -> bool:
    """Whether the password stands in it, in one of the forms it could have."""
    return any(needle in data for needle in NEEDLES)


class CommandLines:
    """Reads the command lines of all processes for the time of a ``with`` block."""

    def __enter__(self) -> CommandLines:
        self.seen: set[bytes] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(path.read_bytes())
                except OSError:  # it has just ended
                    continue

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def test_a_passing_and_a_failing_campaign_leave_no_password(runner: Runner, winrm_host: WinRmHost, project: Project):
    runner.environment["RAS_STANDIN_FAULT"] = "p02=exit:7"
    with CommandLines() as lines:
        passed = runner.run("execute", project.folder, "-i", runner.inventory, "--plans", "1")
        failed = runner.run("execute", project.folder, "-i", runner.inventory, "--plans", "2", code=1)
        winrm_host.server.faults.add("denied")
        refused = runner.run("execute", project.folder, "-i", runner.inventory, "--plans", "7", code=3)
    assert any(b"ras_runner" in line for line in lines.seen)
    assert not [line for line in lines.seen if found_in(line)]
    printed = "".join(done.stdout + done.stderr for done in (passed, failed, refused))
    assert not found_in(printed.encode())
    files = [path for path in runner.folder.rglob("*") if path.is_file()]
    assert [path for path in files if found_in(path.read_bytes())] == []
    journal = b"".join(path.read_bytes() for path in runner.state.rglob("*") if path.is_file())
    assert f"env:{PASSWORD_VARIABLE}".encode() in journal, "what is searched is what was written"
    assert not any(found_in(call.encode()) for call in winrm_host.host.unknown)


def test_logs_reprs_and_errors_do_not_show_it(
    winrm_host: WinRmHost, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    caplog.set_level(logging.DEBUG)
    worker = init_ras_worker("winrm", **winrm_host.parameters(tmp_path))
    shown = [repr(worker), str(vars(worker.transport)), worker.spec.model_dump_json(), caplog.text]
    monkeypatch.setenv(PASSWORD_VARIABLE, f"{PASSWORD}-wrong")
    with pytest.raises(OperatorError) as caught:
        init_ras_worker("winrm", **winrm_host.parameters(tmp_path))
    shown += [repr(caught.value), str(caught.value), str(caught.getrepr(showlocals=False)), caplog.text]
    assert "urllib3" in caplog.text
    assert not [text for text in shown if found_in(text.encode())]
