"""Staging and publishing: what travels, where it lands, and what a failure leaves."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ras_runner.campaign.publish import check_writable, publish, remove_leftovers
from ras_runner.campaign.staging import Stager, inside_tree, project_folder
from ras_runner.engines.base import StagedFile
from ras_runner.errors import InputError, OperatorError
from ras_runner.hashing import FileHasher, SourceChangedError, hash_bytes, hash_file
from ras_runner.hecras.inputs import Access
from ras_runner.transports.base import Place, Upload
from ras_runner.transports.local import LocalTransport
from ras_runner.workers.registry import make_worker

parts = st.lists(st.sampled_from(["..", "a", "b c", "Río"]), min_size=1, max_size=6)


@given(st.lists(parts, min_size=1, max_size=5))
def test_every_place_stays_inside_the_staged_tree(all_parts):
    places = [PurePosixPath(*p, "file.dss") for p in all_parts]
    folder = project_folder(places)
    landed = [inside_tree(folder, place) for place in places]
    assert all(place.parts[0] == "p" and ".." not in place.parts for place in landed)
    # files that were in one place stay in one place, files in different places stay apart
    normal = [os.path.normpath(f"/1/2/3/4/5/6/7/{place}") for place in places]
    assert len(set(normal)) == len(set(landed))


def test_a_place_above_the_tree_is_refused():
    with pytest.raises(InputError, match="would leave the workspace"):
        inside_tree(PurePosixPath("p"), PurePosixPath("../../etc/passwd"))
    with pytest.raises(InputError, match="would leave the workspace"):
        inside_tree(PurePosixPath("p"), PurePosixPath("/etc/passwd"))


def test_a_neighbour_of_the_project_does_not_land_on_it():
    places = [PurePosixPath("x.dss"), PurePosixPath("../d/x.dss"), PurePosixPath("../DD/x.dss")]
    folder = project_folder(places)
    assert len({inside_tree(folder, place) for place in places}) == 3


def test_a_store_file_that_a_crash_left_short_is_sent_again(worker, stager: Stager, tmp_path: Path):
    source = tmp_path / "terrain.hdf"
    source.write_bytes(b"terrain")
    stored = Path(worker.store_path(hash_bytes(b"terrain")))
    stored.parent.mkdir(parents=True)
    stored.write_bytes(b"")
    folder = worker.attempt_folder("x")
    file = StagedFile(PurePosixPath("t.hdf"), source, Access.READ_ONLY)
    assert stager.stage([file], folder, PurePosixPath("p")) == 7
    assert Path(folder, "p", "t.hdf").read_bytes() == b"terrain"


@pytest.fixture
def worker(tmp_path: Path):
    return make_worker("local", {"worker_folder": tmp_path / "worker", "engine": "standin"})


@pytest.fixture
def stager(worker, journal):
    return Stager(worker, FileHasher(journal))


def test_content_travels_once_and_private_copies_do_not_touch_the_store(worker, stager: Stager, tmp_path: Path):
    source = tmp_path / "terrain.hdf"
    source.write_bytes(b"t" * 1000)
    shared, own = (
        StagedFile(PurePosixPath("terrain.hdf"), source, Access.READ_ONLY),
        StagedFile(PurePosixPath("a.g01"), source),
    )
    first, second = worker.attempt_folder("one"), worker.attempt_folder("two")
    assert stager.stage([shared, own], first, PurePosixPath("p")) == 1000
    assert stager.stage([shared, own], second, PurePosixPath("p")) == 0
    stored = Path(worker.store_path(hash_bytes(b"t" * 1000)))
    assert Path(first, "p", "terrain.hdf").samefile(stored)
    assert not Path(first, "p", "a.g01").samefile(stored)
    Path(first, "p", "a.g01").write_bytes(b"changed by the engine")
    assert stored.read_bytes() == b"t" * 1000


def test_a_file_that_changes_while_it_travels_is_staged_as_it_is_then(worker, journal, tmp_path: Path):
    source = tmp_path / "a.u01"
    source.write_bytes(b"old")

    class Late(FileHasher):
        """The user saves the file just after it was hashed, once."""

        def digest(self, path: Path) -> str:
            digest = super().digest(path)
            if path.read_bytes() == b"old":
                path.write_bytes(b"new")
            return digest

    folder = worker.attempt_folder("x")
    Stager(worker, Late(journal)).stage([StagedFile(PurePosixPath("a.u01"), source)], folder, PurePosixPath("p"))
    assert Path(folder, "p", "a.u01").read_bytes() == b"new"


def test_what_arrives_is_verified(worker, tmp_path: Path):
    source = tmp_path / "x"
    source.write_bytes(b"data")
    target = worker.transport.root / "store" / "x"
    with pytest.raises(SourceChangedError):
        worker.transport.put([Upload(source, target, hash_bytes(b"other"))])
    assert list(Path(target).parent.iterdir()) == []


def test_the_local_transport_removes_nothing_outside_its_folder(worker, tmp_path: Path):
    mine = tmp_path / "mine"
    mine.mkdir()
    from ras_runner.errors import WorkerError

    for path in (mine, worker.transport.root, worker.transport.root / ".." / "mine", Path("/")):
        with pytest.raises(WorkerError, match="not below the worker folder"):
            worker.transport.remove(path)
    assert mine.is_dir()


def test_hashes_are_remembered_until_the_file_changes(journal, tmp_path: Path, monkeypatch):
    source = tmp_path / "big"
    source.write_bytes(b"1")
    os.utime(source, (1.0, 1.0))
    reads = []
    monkeypatch.setattr("ras_runner.hashing.hash_file", lambda path: reads.append(path) or hash_file(path))
    monkeypatch.setattr("ras_runner.hashing._SETTLED_SECONDS", -1e12)  # ctime is now: as if it were long ago
    for _ in range(3):
        assert FileHasher(journal).digest(source) == hash_bytes(b"1")
    assert len(reads) == 1
    source.write_bytes(b"2")
    assert FileHasher(journal).digest(source) == hash_bytes(b"2")


def test_a_file_that_was_just_written_is_hashed_again(journal, tmp_path: Path):
    source = tmp_path / "fresh"
    hasher = FileHasher(journal)
    for content in (b"a", b"b", b"c"):  # same size, and perhaps the same time stamp
        source.write_bytes(content)
        assert hasher.digest(source) == hash_bytes(content)


def test_publishing_replaces_whole_files_and_leaves_no_temporary(tmp_path: Path):
    workspace, folder = tmp_path / "ws", tmp_path / "project"
    workspace.mkdir(), folder.mkdir()
    (workspace / "ras.p01.hdf").write_bytes(b"new")
    (folder / "Río.p01.hdf").write_bytes(b"old")
    publish({workspace / "ras.p01.hdf": "Río.p01.hdf"}, folder, "a1")
    assert [(p.name, p.read_bytes()) for p in folder.iterdir()] == [("Río.p01.hdf", b"new")]


def test_publishing_is_all_or_nothing_when_a_file_cannot_be_brought(tmp_path: Path):
    (tmp_path / "ws").mkdir(), (tmp_path / "project").mkdir()
    (tmp_path / "ws" / "a.bco01").write_bytes(b"log")
    with pytest.raises(OperatorError, match="cannot be written"):
        publish(
            {tmp_path / "ws" / "a.bco01": "a.bco01", tmp_path / "ws" / "gone": "a.p01.hdf"}, tmp_path / "project", "a1"
        )
    assert list((tmp_path / "project").iterdir()) == []


def test_publishing_into_a_missing_folder_says_what_to_do(tmp_path: Path):
    (tmp_path / "r.hdf").write_bytes(b"x")
    with pytest.raises(OperatorError, match="ras-runner resume"):
        publish({tmp_path / "r.hdf": "r.hdf"}, tmp_path / "gone", "a1")
    with pytest.raises(OperatorError, match="cannot be written"):
        check_writable(tmp_path / "gone")


def test_publishing_again_after_a_kill_leaves_no_temporary(tmp_path: Path):
    workspace, folder = tmp_path / "ws", tmp_path / "project"
    workspace.mkdir(), folder.mkdir()
    (workspace / "a.p01.hdf").write_bytes(b"result")
    for _ in range(2):  # the second time it is renamed over its own hard link
        publish({workspace / "a.p01.hdf": "a.p01.hdf"}, folder, "a1")
    assert [p.name for p in folder.iterdir()] == ["a.p01.hdf"]


def test_a_result_whose_workspace_stays_is_a_file_of_its_own(tmp_path: Path):
    workspace, folder = tmp_path / "ws", tmp_path / "project"
    workspace.mkdir(), folder.mkdir()
    source = workspace / "a.p01.hdf"
    source.write_bytes(b"result")
    publish({source: "a.p01.hdf"}, folder, "a1", link=False)
    source.write_bytes(b"")
    assert (folder / "a.p01.hdf").read_bytes() == b"result"


@pytest.mark.parametrize("way", ["link", "copy"])
def test_staging_a_second_time_does_not_write_through_a_link_into_the_store(worker, tmp_path: Path, way: str):
    transport = worker.transport
    old, new, target = (transport.root / name for name in ("store-old", "store-new", "w/a1/terrain.hdf"))
    transport.put([Upload(b"old", old), Upload(b"new", new)])
    transport.place([Place(old, target, link=True)])
    transport.place([Place(new, target, link=way == "link")])
    assert (Path(target).read_bytes(), Path(old).read_bytes(), Path(new).read_bytes()) == (b"new", b"old", b"new")


def test_leftovers_of_our_attempts_are_removed_and_nothing_else(tmp_path: Path):
    for name in (".ras-runner-a1-0.part", ".ras-runner-a1-1.part", ".ras-runner-a2-0.part", "user.part"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path, ["a1"])
    assert sorted(p.name for p in tmp_path.iterdir()) == [".ras-runner-a2-0.part", "user.part"]


def test_transport_claims_once(tmp_path: Path):
    transport = LocalTransport(tmp_path)
    folder = tmp_path / "w" / "a1"
    assert transport.claim(folder)  # never staged: nothing can start there
    folder.mkdir(parents=True)
    assert transport.claim(folder)
    assert not transport.claim(folder)
