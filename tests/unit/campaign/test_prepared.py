"""What first stages leave, kept between the stages."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from ras_runner.campaign.journal import Journal
from ras_runner.campaign.prepared import PreparedStore, engine_label, readiness
from ras_runner.engines.hecras_linux import HecRasLinuxEngine
from ras_runner.errors import OperatorError
from ras_runner.hashing import FileHasher
from ras_runner.hecras.inputs import PlanInputs, plan_inputs
from ras_runner.hecras.prepared import PreparedFiles
from ras_runner.hecras.project import Project
from ras_runner.transports.local import LocalTransport
from ras_runner.workers.base import Worker, WorkerSpec

KIND = "HEC-RAS 6.6"


@pytest.fixture
def store(journal: Journal, tmp_path: Path) -> PreparedStore:
    return PreparedStore(tmp_path / "state" / "prepared" / "c", FileHasher(journal))


@pytest.fixture
def linux(tmp_path: Path) -> Worker:
    """A worker that only solves."""
    spec = WorkerSpec(worker_id="linux", engine="hecras-linux", cores_total=4, preprocess_on_host=True)
    engine = HecRasLinuxEngine(PurePosixPath("/opt/hecras/6.6"))
    return Worker("local", spec, engine, LocalTransport(tmp_path / "worker"))


@pytest.fixture
def inputs(project: Project) -> PlanInputs:
    return plan_inputs(project.plan("01"))


@pytest.fixture
def made(tmp_path: Path) -> PreparedFiles:
    """What a first stage has left."""
    files = {name: tmp_path / name for name in ("p01.tmp.hdf", "b01", "x01")}
    for name, path in files.items():
        path.write_text(f"content of {name}", encoding="ascii")
    return PreparedFiles(files, KIND)


def test_what_is_kept_is_found_for_the_same_inputs_and_engine_only(store, linux, inputs, made):
    store.keep("01", "digest", KIND, made)
    found = store.find(linux, inputs, "digest")
    assert isinstance(found, PreparedFiles)
    assert found.maker == KIND
    assert {name: path.read_text() for name, path in found.files.items()} == {
        name: f"content of {name}" for name in made.files
    }
    assert isinstance(store.find(linux, inputs, "of other inputs"), str)
    store.keep("01", "digest", "HEC-RAS 6.5", made)
    assert len(list((store.folder / "01").iterdir())) == 2


def test_keeping_it_twice_is_keeping_it_once(store, linux, inputs, made):
    for _ in range(2):
        store.keep("01", "digest", KIND, made)
    assert len(list((store.folder / "01").iterdir())) == 1
    assert isinstance(store.find(linux, inputs, "digest"), PreparedFiles)


def test_what_was_damaged_on_the_disk_is_not_used(store, linux, inputs, made):
    store.keep("01", "digest", KIND, made)
    next(store.folder.rglob("b01")).write_text("content of b02", encoding="ascii")
    assert "Bear Creek.b01 is missing" in store.find(linux, inputs, "digest")


def test_a_copy_that_fails_leaves_nothing(store, linux, inputs, made, tmp_path: Path):
    (tmp_path / "x01").unlink()
    with pytest.raises(OperatorError, match="prepared files of plan 01 cannot be kept"):
        store.keep("01", "digest", KIND, made)
    assert list((store.folder / "01").iterdir()) == []
    assert isinstance(store.find(linux, inputs, "digest"), str)


def test_what_is_over_and_what_is_half_is_swept_away(store, linux, inputs, made):
    store.keep("01", "digest", KIND, made)
    store.keep("02", "digest", KIND, made)
    (store.folder / "01" / "abc.1234.part").mkdir()
    store.sweep({"01"})
    assert [path.name for path in store.folder.iterdir()] == ["01"]
    assert isinstance(store.find(linux, inputs, "digest"), PreparedFiles)
    assert not list(store.folder.rglob("*.part"))
    store.sweep(())
    assert not store.folder.exists()


def test_a_plan_that_nobody_can_prepare_is_told_what_it_lacks_and_who_could(linux, project: Project):
    plan = project.plan("01")
    ready = readiness(plan, [linux], lambda worker, inputs: "X.b01 is missing")
    assert ready.kinds == frozenset()
    for part in ("plan 01 is not prepared for linux", "X.b01 is missing", "next: add a worker of HEC-RAS 6.6"):
        assert part in ready.problem


def test_a_label_names_both_programs():
    assert engine_label("HEC-RAS 6.6 Linux", "HEC-RAS 6.6") == "HEC-RAS 6.6 Linux, prepared by HEC-RAS 6.6"
    assert engine_label("HEC-RAS 6.6", "") == "HEC-RAS 6.6"
