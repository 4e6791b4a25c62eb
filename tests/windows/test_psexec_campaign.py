"""Campaigns on a Windows host whose programs really run, under wine: trees, restarts, lost answers, secrets."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.commands import wait_until
from tests.simulators.windows_host.host import WindowsHost
from tests.simulators.windows_host.programs import write_program
from tests.simulators.windows_host.smbd import PASSWORD
from tests.windows.conftest import WindowsRunner
from tests.wine.ras_exe import write_ras_exe
from tests.wine.wine import PYTHON, marked_processes

from ras_runner.engines.cmdline import join_cmd
from ras_runner.hecras.example import write_example_project
from ras_runner.hecras.project import Project
from ras_runner.transports.base import Probe, Upload
from ras_runner.transports.psexec import PsExecTransport
from ras_runner.workers.registry import make_worker


def variables(host: WindowsHost, folder: Path, **others: Any) -> dict[str, object]:
    return {f"ras_{name}": value for name, value in host.parameters(folder / "worker", **others).items()}


@pytest.fixture
def runner(windows_host: WindowsHost, tmp_path: Path) -> Iterator[WindowsRunner]:
    made = WindowsRunner(tmp_path, group="psexec_workers", variables=variables(windows_host, tmp_path))
    yield made
    made.stop_engines()


@pytest.fixture
def transport(windows_host: WindowsHost, tmp_path: Path) -> PsExecTransport:
    made = make_worker("psexec", windows_host.parameters(tmp_path / "worker")).transport
    assert isinstance(made, PsExecTransport)
    return made


#: A run script whose solver outlives the program that started it, as Ras.exe's does.
SOLVER = "import pathlib, time; pathlib.Path(chr(117)).touch(); time.sleep(600)"
RAS = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', '{SOLVER}'], creationflags=8)"
LINES = (
    "@echo off",
    "mkdir claim",
    join_cmd((PYTHON, "-c", RAS)),
    ":wait",
    "if not exist u goto wait",
    join_cmd((PYTHON, "-c", "import time; time.sleep(600)")),
    "",
)


def orphans(transport: PsExecTransport, name: str) -> Probe:
    """A running attempt, one of whose processes has lost its parent."""
    folder = transport.root / "w" / name
    transport.put([Upload("\r\n".join(LINES).encode("ascii"), folder / "run.cmd")])
    probe = Probe(name, folder, transport.launch(name, folder, "run.cmd"), whole_tree=True, cpu=True)
    wait_until(lambda: transport.read(folder / "u") is not None, "the solver runs")
    return probe


def test_the_whole_tree_is_ended_and_nobody_elses(transport: PsExecTransport, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ras_runner.transports.psexec.CHECK_SECONDS", 0.0)
    first, second = orphans(transport, "aaaa1"), orphans(transport, "bbbb2")
    seen = lambda: transport.poll([first, second]).values()  # noqa: E731
    wait_until(lambda: all(status.cpu_seconds is not None for status in seen()), "the processes are listed")
    assert [status.alive for status in seen()] == [True, True]
    transport.stop(first)
    statuses = transport.poll([first, second])
    assert [statuses[probe.attempt].alive for probe in (first, second)] == [False, True]
    transport.stop(second)
    assert not transport.poll([second])["bbbb2"].alive


def test_what_was_killed_from_outside_is_noticed(transport: PsExecTransport, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ras_runner.transports.psexec.CHECK_SECONDS", 0.0)
    probe = orphans(transport, "cccc3")
    assert transport.poll([probe])["cccc3"].alive
    for process in map(psutil.Process, marked_processes(WindowsRunner.mark)):
        if re.search(r"run\.cmd|sleep\(600\)", " ".join(process.cmdline())):
            process.kill()
    noticed = lambda: not transport.poll([probe])["cccc3"].alive  # noqa: E731
    wait_until(noticed, f"it is noticed ({transport._trouble})", 60)


def test_hecras_itself_and_a_window_that_waits(windows_host: WindowsHost, tmp_path: Path):
    """Ras.exe is first the stand-in behind a real .exe, then one that waits for somebody."""
    exe = write_ras_exe(tmp_path / "HEC RAS (x86)" / "6.6")
    path = "Z:" + str(exe).replace("/", "\\")
    named = variables(windows_host, tmp_path, engine="hecras-windows", ras_exe_path=path)
    runner = WindowsRunner(tmp_path, group="psexec_workers", variables=named)
    project = Project.open(write_example_project(tmp_path / "project", plans=1))
    (result,) = runner.execute(project.folder)
    assert result["outcome"] == "completed", result
    write_program(exe, "import time; time.sleep(600)")
    (stuck,) = runner.execute(project.folder, "--plans", "1", "--force", "--stuck-after", "0.1", code=1)
    assert stuck["outcome"] == "engine-error"
    assert "Terms and Conditions for Use" in stuck["error_message"]
    runner.check_no_engine_runs()


def test_answers_that_are_lost(runner: WindowsRunner, project: Project, windows_host: WindowsHost):
    """The network goes when the host has just started something: nothing runs twice, nothing is left."""
    state, before = windows_host.state, len(windows_host.state.starts)

    def cut() -> None:
        if len(state.starts) - before in (1, 3, 4):
            windows_host.smbd.cut()

    state.when_started = cut
    try:
        results = runner.execute(project.folder, "--plans", "1,2")
    finally:
        state.when_started = lambda: None
    assert [(r["success"], r["attempts"]) for r in results] == [(True, 1)] * 2, results
    runs = [start for start in state.starts[before:] if "run.cmd" in str(start["arguments"])]
    assert len(runs) == 2


def test_other_workers_go_on_without_a_host_that_refuses_us(
    runner: WindowsRunner, project: Project, windows_host: WindowsHost, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WRONG_PASSWORD", "not-this-one-55d3")
    bad = variables(windows_host, runner.folder, password="env:WRONG_PASSWORD")
    here = {"ras_engine": "standin", "ras_worker_folder": str(runner.folder / "here"), "ras_cores_per_plan": 1}
    inventory = {"psexec_workers": {"hosts": {"pc7": bad}}, "local": {"hosts": {"here": here}}}
    runner.inventory.write_text(json.dumps(inventory), encoding="utf-8")
    done = runner.run("execute", project.folder, "-i", runner.inventory, "--plans", "1", "--json")
    assert [r["worker_id"] for r in json.loads(done.stdout)] == ["here"]
    assert "worker pc7 is left out" in done.stderr
    assert "the user name or password is wrong" in done.stderr
    assert "not-this-one-55d3" not in done.stdout + done.stderr


def spy_on_processes(found: set[str], done: threading.Event) -> None:
    """Collect the command lines and environments of all processes that show the password."""
    secret = PASSWORD.encode()
    while not done.wait(0.05):
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if secret in (process / "cmdline").read_bytes():
                    found.add(process.name)
            except OSError:
                continue


def test_the_password_is_written_and_printed_nowhere(runner: WindowsRunner, project: Project):
    """A campaign that completes and one that fails, with everything they leave and say searched for the password."""
    seen: set[str] = set()
    done = threading.Event()
    spy = threading.Thread(target=spy_on_processes, args=(seen, done))
    spy.start()
    try:
        said = [runner.run("execute", project.folder, "-i", runner.inventory, "--plans", "1")]
        runner.environment["RAS_STANDIN_FAULT"] = "p02=exit:7"
        said.append(runner.run("execute", project.folder, "-i", runner.inventory, "--plans", "2", "--json", code=1))
        for command in (["status"], ["results", "--json"], ["logs"], ["workers", "-i", runner.inventory]):
            said.append(runner.run(*command, code=None))
        runner.run("report", "-o", runner.folder / "report", code=None)
    finally:
        done.set()
        spy.join()
    assert seen == set()
    assert all(PASSWORD not in text for process in said for text in (process.stdout, process.stderr))
    forms = (PASSWORD.encode(), PASSWORD.encode("utf-16-le"))
    files = [path for path in runner.folder.rglob("*") if path.is_file()]
    assert any(path.name == "journal.sqlite" for path in files)
    assert [path for path in files if any(form in path.read_bytes() for form in forms)] == []


def test_the_password_is_in_no_log_and_no_repr(
    windows_host: WindowsHost, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(1)
    worker = make_worker("psexec", windows_host.parameters(tmp_path / "worker"))
    worker.transport.put([Upload(b"x", worker.transport.root / "w" / "x")])
    transport = worker.transport
    assert isinstance(transport, PsExecTransport)
    shown = [caplog.text, repr(worker), repr(transport.links.login), str(worker.spec), worker.spec.model_dump_json()]
    assert len(caplog.records) > 20
    assert all(PASSWORD not in text for text in shown)
