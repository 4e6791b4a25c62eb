"""Plans on a WinRM worker, through the program as a user runs it, on a simulated host whose programs run under wine."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from tests.commands import Runner, wait_until
from tests.services import not_here
from tests.simulators.windows_host.smbd import SambaUnavailable, running_smbd
from tests.simulators.winrm.host import Task
from tests.ssh.sshd import free_port
from tests.wine.ras_exe import WAITS, write_ras_exe
from tests.winrm.conftest import WinRmHost

from ras_runner import init_ras_worker
from ras_runner.errors import OperatorError, WorkerError
from ras_runner.hecras.project import Project
from ras_runner.transports.base import Place, Probe, Status, Upload
from ras_runner.transports.windows import WindowsTransport


def write_inventory(runner: Runner, host: WinRmHost, **others: object) -> None:
    """One WinRM worker, as the fixture ``runner`` has, with other parameters."""
    parameters = host.parameters(runner.worker_folder, **others)
    variables = {key if key == "ras_exe_path" else f"ras_{key}": value for key, value in parameters.items()}
    variables["ras_worker_type"] = "winrm"
    runner.inventory.write_text(json.dumps({"windows_workers": {"hosts": {"here": variables}}}), encoding="utf-8")


def run_scripts(host: WinRmHost) -> list[str]:
    """Command lines of the run scripts that run there."""
    return [line for *_, line in host.host.agent("processes") if "run.cmd" in line]


def test_hecras_runs_on_the_desktop_as_a_task_that_is_gone_afterwards(
    runner: Runner, winrm_host: WinRmHost, project: Project
):
    exe = write_ras_exe(runner.folder / "HEC RAS (x86)" / "6.6")
    write_inventory(runner, winrm_host, engine="hecras-windows", ras_exe_path=winrm_host.windows.path(exe))
    results = runner.execute(project.folder, "--plans", "1,2")
    assert [(r["outcome"], r["engine"]) for r in results] == [("completed", "HEC-RAS 6.6")] * 2
    assert winrm_host.host.calls.count("launch") == 2
    assert winrm_host.host.tasks == {}
    assert runner.workspaces() == []
    assert winrm_host.host.unknown == []


def test_hecras_that_waits_in_a_window_is_stopped_with_its_solver(
    runner: Runner, winrm_host: WinRmHost, project: Project
):
    exe = write_ras_exe(runner.folder / "6.6", WAITS)
    write_inventory(runner, winrm_host, engine="hecras-windows", ras_exe_path=winrm_host.windows.path(exe))
    (result,) = runner.execute(project.folder, "--plans", "1", "--stuck-after", "0.05", code=1)
    assert result["outcome"] == "engine-error"
    assert "Terms and Conditions for Use" in result["error_message"]
    assert run_scripts(winrm_host) == []
    assert winrm_host.host.tasks == {}


def test_a_launch_whose_answer_is_lost_is_found_again(runner: Runner, winrm_host: WinRmHost, project: Project):
    winrm_host.host.faults.add("late answers")
    (result,) = runner.execute(project.folder, "--plans", "1")
    assert (result["success"], result["attempts"]) == (True, 1)
    assert winrm_host.host.calls.count("launch") == 1
    assert winrm_host.host.tasks == {}


def test_uploads_that_arrive_damaged_are_sent_again(runner: Runner, winrm_host: WinRmHost, project: Project):
    winrm_host.host.faults.add("damage uploads")
    (result,) = runner.execute(project.folder, "--plans", "1")
    assert result["success"]


def test_a_user_who_logs_off_takes_the_worker_out_with_its_reason(
    runner: Runner, winrm_host: WinRmHost, project: Project
):
    winrm_host.host.faults.add("no desktop")
    (result,) = runner.execute(project.folder, "--plans", "1", code=2)
    assert "nobody is logged on there as SIM\\Administrator" in result["error_message"]
    assert "stay logged on" in result["error_message"]
    assert winrm_host.host.tasks == {}
    assert winrm_host.host.calls.count("launch") == 1


def test_files_go_through_a_share_where_there_is_one(
    runner: Runner, winrm_host: WinRmHost, project: Project, tmp_path: Path
):
    with contextlib.ExitStack() as stack:
        try:
            smbd = stack.enter_context(running_smbd({"RasRemote": runner.worker_folder}, free_port()))
        except SambaUnavailable as reason:
            not_here(reason)
        share = {"share_path": r"\\127.0.0.1\RasRemote", "share_port": smbd.port}
        write_inventory(runner, winrm_host, **share)
        results = runner.execute(project.folder, "--plans", "1,2")
        assert all(r["success"] for r in results), results
        assert not {"put", "unpack", "write", "pack"} & set(winrm_host.host.calls)
        assert runner.workspaces() == []
        with pytest.raises(OperatorError, match="are not the same folder"):
            init_ras_worker("winrm", **winrm_host.parameters(tmp_path / "elsewhere", **share))


@pytest.fixture
def transport(winrm_host: WinRmHost, tmp_path: Path) -> WindowsTransport:
    """The transport of a worker there."""
    made = init_ras_worker("winrm", **winrm_host.parameters(tmp_path / "worker")).transport
    assert isinstance(made, WindowsTransport)
    return made


def test_large_files_go_and_come_in_pieces(transport: WindowsTransport, winrm_host: WinRmHost, tmp_path: Path):
    large = np.random.default_rng(1).bytes(3_000_000)
    names = ["Río & 'x' %1%.hdf", "empty.dat", "large [1].hdf"]
    folder, there = transport.root / "w" / "a1", tmp_path / "worker" / "w" / "a1"
    (tmp_path / "large").write_bytes(large)
    transport.put([Upload(b"small", folder / names[0]), Upload(tmp_path / "large", folder / names[2])])
    transport.put([Upload(b"", folder / names[1])])
    assert [(there / name).read_bytes() for name in names] == [b"small", b"", large]
    assert winrm_host.host.calls.count("write") >= 3
    assert transport.read(folder / names[2], last=100) == large[-100:]
    assert transport.read(folder / names[2], start=2_999_990) == large[-10:]
    assert transport.read(folder / "none") is None
    assert transport.claim(folder)
    (there / names[2]).write_bytes(large[::-1])
    (there / "written.HDF").write_bytes(b"too")
    collected = transport.collect(Probe("a1", folder, ""), folder, ("*.hdf",), tmp_path / "got")
    assert collected.names == (names[2], "written.HDF")
    assert [(tmp_path / "got" / name).read_bytes() for name in collected.names] == [large[::-1], b"too"]
    assert (tmp_path / "got" / "empty.dat").read_bytes() == b"", "a name of what was left alone"
    assert not (tmp_path / "got" / names[0]).exists(), "matches, but is older than the claim"
    assert list((tmp_path / "worker").rglob("*.part")) == []


def test_what_a_claim_keeps_from_starting_never_starts(transport: WindowsTransport, tmp_path: Path):
    folder = transport.root / "w" / "a1"
    transport.put([Upload(b"@echo off\r\n", folder / "run.cmd")])
    assert transport.claim(folder)
    assert transport.claim(folder), "the same controller may ask again"
    (tmp_path / "worker" / "w" / "a2" / "claim").mkdir(parents=True)
    assert not transport.claim(transport.root / "w" / "a2")
    assert transport.claim(transport.root / "w" / "nothing there")


def test_links_copies_room_and_removal(transport: WindowsTransport, tmp_path: Path):
    store, work = transport.root / "store" / "ab", transport.root / "w" / "a1"
    kept, free = "ab" * 32, "cd" * 32
    transport.put([Upload(b"kept" * 10, store / kept), Upload(b"free" * 10, store / free)])
    assert transport.stored([store / kept, store / "none"]) == {store / kept: 40}
    transport.place([Place(store / kept, work / "linked", True), Place(store / kept, work / "own", False)])
    here = tmp_path / "worker"
    assert (here / "w" / "a1" / "linked").samefile(here / "store" / "ab" / kept)
    assert not (here / "w" / "a1" / "own").samefile(here / "store" / "ab" / kept)
    assert transport.trim(0) == 0, "all were used just now"
    for path in (here / "store" / "ab").iterdir():
        os.utime(path, (1e9, 1e9))
    (here / "store" / "cut.part").write_bytes(b"x" * 7)
    os.utime(here / "store" / "cut.part", (1e9, 1e9))
    assert transport.trim(50) == 47, "what a workspace has a link to stays"
    assert [path.name for path in (here / "store").rglob("*") if path.is_file()] == [kept]
    transport.remove(work)
    assert not (here / "w" / "a1").exists()
    for path in (transport.root, transport.root / "w" / ".." / ".." / "x", transport.root.parent):
        with pytest.raises(WorkerError, match="is not below the worker folder"):
            transport.remove(path)


def test_only_the_tree_of_an_attempt_is_ended(transport: WindowsTransport, winrm_host: WinRmHost, tmp_path: Path):
    line = b"@mkdir claim\r\n@Z:\\srv\\python\\python.exe wait.py\r\n"
    program = b"import time\nopen('up', 'w').close()\nwhile True: time.sleep(0.05)\n"
    folders = [transport.root / "w" / name for name in ("b1", "b12")]
    for folder in folders:
        transport.put([Upload(line, folder / "run.cmd"), Upload(program, folder / "wait.py")])
        assert transport.launch(folder.name, folder, "run.cmd").partition(":")[0].isdigit()
    here = [tmp_path / "worker" / "w" / folder.name for folder in folders]
    wait_until(lambda: all((folder / "up").exists() for folder in here), "both run")
    probes = [Probe(folder.name, folder, "", whole_tree=True, cpu=True) for folder in folders]
    wait_until(lambda: all(s.cpu_seconds is not None for s in transport.poll(probes).values()), "both were seen")
    assert all(status.alive for status in transport.poll(probes).values())
    transport.stop(probes[0])
    left = run_scripts(winrm_host)
    assert len(left) == 1
    assert left[0].endswith(" b12")
    transport.stop(probes[1])
    assert run_scripts(winrm_host) == []
    assert winrm_host.host.tasks == {}


ORPHAN = b"""import subprocess, sys, time, pathlib
if len(sys.argv) == 1:
    subprocess.Popen([sys.executable, "solver.py", "solve"], creationflags=8)
wanted = "solved" if len(sys.argv) > 1 else "over"
while not pathlib.Path(wanted).exists():
    time.sleep(0.02)
"""


def test_a_run_goes_on_until_its_solver_has_ended(transport: WindowsTransport, tmp_path: Path):
    folder, here = transport.root / "w" / "c1", tmp_path / "worker" / "w" / "c1"
    line = b'@mkdir claim\r\n@Z:\\srv\\python\\python.exe solver.py\r\n@>exit.json echo {"exit_code": 0}\r\n'
    transport.put([Upload(line, folder / "run.cmd"), Upload(ORPHAN, folder / "solver.py")])
    probe = Probe("c1", folder, transport.launch("c1", folder, "run.cmd"), whole_tree=True)

    def look() -> Status:
        return transport.poll([probe])["c1"]

    def kept() -> int:
        look()
        return len(json.loads((here / "tree.json").read_text())) if (here / "tree.json").exists() else 0

    wait_until(lambda: kept() >= 3, "the solver was seen")
    (here / "over").touch()
    wait_until(lambda: look().exit_code == 0, "Ras.exe has ended")
    assert look().alive
    (here / "solved").touch()
    wait_until(lambda: not look().alive, "the solver has ended")


def test_a_host_that_does_not_answer_keeps_nobody_waiting(
    transport: WindowsTransport, winrm_host: WinRmHost, tmp_path: Path
):
    probe = Probe("a1", transport.root / "w" / "a1", "")
    winrm_host.host.looks.clear()
    assert transport.poll([probe])["a1"] == Status(alive=True, exit_code=None), "nothing is known yet"
    assert winrm_host.host.calls.count("look") <= 1
    winrm_host.host.looks.set()
    wait_until(lambda: not transport.poll([probe])["a1"].alive, "the look has ended")


def test_a_task_that_is_not_ours_is_left_alone(transport: WindowsTransport, winrm_host: WinRmHost, tmp_path: Path):
    winrm_host.host.tasks["ras-runner-a1"] = Task("somebody else's")
    transport.stop(Probe("a1", transport.root / "w" / "a1", ""))
    assert list(winrm_host.host.tasks) == ["ras-runner-a1"]


@pytest.mark.parametrize(
    ("start", "last"), [(0, 1 << 30), (0, 3 << 20), (1 << 20, 1 << 30), (4 << 20, 1000), (0, 1 << 20)]
)
def test_large_files_are_read_whole(transport: WindowsTransport, tmp_path: Path, start: int, last: int):
    """What a first stage leaves as it was staged is read so: half of it would be solved with wrong geometry."""
    data = os.urandom((4 << 20) + 17)
    path = transport.root / "w" / "a1" / "large.x01"
    transport.put([Upload(data, path)])
    assert transport.read(path, start=start, last=last) == data[start:][-last:]
    assert transport.read(path.with_name("none")) is None


def test_what_never_began_or_has_gone_has_written_nothing(transport: WindowsTransport, tmp_path: Path):
    """As on this machine: the plan is run again."""
    probe = Probe("a1", transport.root / "w" / "a1", "")
    transport.put([Upload(b"staged", probe.folder / "p" / "r.hdf")])
    assert transport.collect(probe, probe.folder / "p", ["r.hdf"], tmp_path / "scratch").names == ()
    transport.remove(probe.folder)
    assert transport.collect(probe, probe.folder / "p", ["r.hdf"], tmp_path / "scratch").names == ()
