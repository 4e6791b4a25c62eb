"""Full and read-only disks, on small file systems mounted in a mount namespace of the test's own."""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.commands import Runner, wait_until
from tests.integration.test_execute import snapshot
from tests.services import needs_mounts

from ras_runner.hecras.project import Project

pytestmark = pytest.mark.disk


@pytest.fixture
def mounts(tmp_path: Path):
    """Mount helper; everything is unmounted after the test."""
    needs_mounts()
    mounted: list[Path] = []

    def mount(*args: object) -> None:
        subprocess.run(["mount", *map(str, args)], check=True)
        mounted.append(Path(str(args[-1])))

    yield mount
    libc = ctypes.CDLL(None, use_errno=True)
    for path in reversed(mounted):
        assert libc.umount2(str(path).encode(), 2) == 0, f"{path} stays mounted"  # 2: MNT_DETACH


def test_a_full_disk_while_staging(runner: Runner, project: Project, mounts):
    runner.worker_folder.mkdir()
    mounts("-t", "tmpfs", "-o", "size=64k", "tmpfs", runner.worker_folder)
    (project.folder / f"{project.name}.g01.hdf").write_bytes(b"\x89HDF\r\n\x1a\n" + b"g" * 200_000)
    before = snapshot(project.folder)
    done = runner.run("execute", project.folder, "-i", runner.inventory, "--plans", "1,2", "--json", code=2)
    results = json.loads(done.stdout)
    assert all(r["outcome"] == "infrastructure-lost" for r in results)
    assert all("is full" in r["error_message"] and str(runner.worker_folder) in r["error_message"] for r in results)
    assert snapshot(project.folder) == before
    subprocess.run(["mount", "-o", "remount,size=64m", str(runner.worker_folder)], check=True)
    (project.folder / f"{project.name}.g01.hdf").unlink()
    resumed = json.loads(runner.run("resume", "--json").stdout)
    assert all(r["success"] for r in resumed)


def test_a_full_disk_while_publishing_keeps_the_result(runner: Runner, project: Project, mounts, tmp_path: Path):
    small = tmp_path / "small"
    small.mkdir()
    mounts("-t", "tmpfs", "-o", "size=600k", "tmpfs", small)
    shutil.copytree(project.folder, small / "p")
    filler = small / "filler"
    with filler.open("wb") as out:
        out.write(b"x" * (shutil.disk_usage(small).free - 20_000))
    before = snapshot(small / "p")
    done = runner.run("execute", small / "p", "-i", runner.inventory, "--plans", "1,2", "--json", code=2)
    for result in json.loads(done.stdout):
        assert "is full" in result["error_message"]
        assert "nothing is computed again" in result["error_message"]
    assert snapshot(small / "p") == before
    filler.unlink()
    resumed = json.loads(runner.run("resume", "--json").stdout)
    assert [(r["success"], r["attempts"]) for r in resumed] == [(True, 1), (True, 1)], "computed again"
    assert runner.workspaces() == []


def test_unpublished_results_survive_a_kill_and_a_cancel(runner: Runner, project: Project, mounts, tmp_path: Path):
    """Two good results wait from one slot when the controller is killed and the campaign is cancelled."""
    runner.environment["RAS_STANDIN_FAULT"] = "p03=hang"
    small = tmp_path / "small"
    small.mkdir()
    mounts("-t", "tmpfs", "-o", "size=900k", "tmpfs", small)
    shutil.copytree(project.folder, small / "p")
    filler = small / "filler"
    with filler.open("wb") as out:
        out.write(b"x" * (shutil.disk_usage(small).free - 20_000))
    controller = runner.start_running(1, small / "p", "--plans", "1,2,3", "--max-concurrent", "1")
    wait_until(lambda: runner.tasks()["03"]["state"] == "running", "plan 03 runs")
    controller.kill()
    controller.wait()
    runner.run("cancel")
    assert len(runner.workspaces()) == 2, "a good result was thrown away"
    filler.unlink()
    del runner.environment["RAS_STANDIN_FAULT"]
    resumed = json.loads(runner.run("resume", "--json").stdout)
    assert [(r["plan_number"], r["success"], r["attempts"]) for r in resumed] == [
        ("01", True, 1),
        ("02", True, 1),
        ("03", True, 2),
    ]
    assert runner.workspaces() == []


def test_a_read_only_project_folder_is_refused_at_once(runner: Runner, project: Project, mounts):
    mounts("--bind", project.folder, project.folder)
    subprocess.run(["mount", "-o", "remount,ro,bind", str(project.folder)], check=True)
    before = snapshot(project.folder)
    done = runner.run("execute", project.folder, "-i", runner.inventory, "--plans", "1", code=2)
    assert "cannot be written" in done.stderr
    assert runner.workspaces() == []
    assert snapshot(project.folder) == before
