"""Who sends what when several attempts stage at once, what is tried again, and when the store is trimmed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ras_runner.campaign.journal import Journal
from ras_runner.campaign.staging import Stager
from ras_runner.engines.base import StagedFile
from ras_runner.errors import DiskFullError, InputError, WorkerError
from ras_runner.hashing import FileHasher, SourceChangedError, hash_bytes
from ras_runner.hecras.inputs import Access
from ras_runner.transports.base import Place, Upload, never
from ras_runner.transports.local import LocalTransport
from ras_runner.workers.base import Worker
from ras_runner.workers.registry import make_worker

TREE = PurePosixPath("p")


class Watched(LocalTransport):
    """Notes what is asked of it; a test can make something happen before a call."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.calls: list[str] = []
        self.sent: Counter[str] = Counter()
        self.before: dict[str, Callable[[Sequence[object]], None]] = {}
        self.freed = 0
        self.trimmed: list[int] = []

    def _note(self, call: str, what: Sequence[object]) -> None:
        self.calls.append(call)
        if call in self.before:
            self.before[call](what)

    def stored(self, paths):
        paths = list(paths)
        self._note("stored", paths)
        return super().stored(paths)

    def put(self, files: Sequence[Upload], stopped: Callable[[], bool] = never) -> None:
        self._note("put", files)
        super().put(files, stopped)
        self.sent.update(file.digest for file in files if file.digest)

    def place(self, places: Sequence[Place]) -> None:
        self._note("place", places)
        super().place(places)

    def trim(self, limit: int) -> int:
        self.trimmed.append(limit)
        self._note("trim", ())
        return self.freed


class Memory:
    """Digests that are never remembered: every file is hashed when it is asked for."""

    def get_digest(self, path: str, signature: str) -> str | None:
        return None

    def put_digest(self, path: str, signature: str, digest: str) -> None:
        return None


def watched(folder: Path, **parameters: object) -> tuple[Worker, Watched]:
    worker = make_worker("local", {"worker_folder": folder / "worker", "engine": "standin", **parameters})
    transport = Watched(folder / "worker")
    return replace(worker, transport=transport), transport


@pytest.fixture
def setting(tmp_path: Path, journal: Journal) -> tuple[Stager, Watched, Worker]:
    worker, transport = watched(tmp_path)
    return Stager(worker, FileHasher(journal)), transport, worker


def staged(path: Path, content: bytes, access: Access = Access.READ_ONLY) -> StagedFile:
    path.write_bytes(content)
    return StagedFile(PurePosixPath(path.name), path, access)


def holds(worker: Worker, attempt: str, file: StagedFile) -> bytes:
    return Path(worker.attempt_folder(attempt), "p", file.place).read_bytes()


def in_threads(*works: Callable[[], object]) -> list[BaseException]:
    """Run them at once, to their ends; what they raised."""
    raised: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "they wait for each other"
    return raised


def test_a_workspace_takes_four_calls_however_many_files(setting, tmp_path: Path):
    stager, transport, worker = setting
    files = [staged(tmp_path / f"{n}.hdf", bytes([n]) * 10, Access.READ_ONLY) for n in range(40)]
    files += [StagedFile(PurePosixPath(f"own{n}"), b"abc") for n in range(5)]
    assert stager.stage(files, worker.attempt_folder("a"), TREE) == 415
    assert transport.calls == ["stored", "put", "place", "put", "trim"]
    assert stager.stage(files, worker.attempt_folder("b"), TREE) == 15
    assert transport.calls[5:] == ["stored", "place", "put"]
    assert max(transport.sent.values()) == 1


def test_what_another_attempt_is_sending_is_waited_for(setting, tmp_path: Path):
    stager, transport, worker = setting
    terrain = staged(tmp_path / "terrain", b"t" * 100)
    sending, waiting = threading.Event(), threading.Event()

    def first_put(files: Sequence[object]) -> None:
        if not sending.is_set():
            sending.set()
            assert waiting.wait(60)

    asked = []

    def second_stopped() -> bool:
        asked.append(1)
        if len(asked) == 2:  # before it waits
            waiting.set()
        return False

    def second() -> None:
        assert sending.wait(60)
        assert stager.stage([terrain], worker.attempt_folder("b"), TREE, second_stopped) == 0

    transport.before["put"] = first_put
    first = lambda: stager.stage([terrain], worker.attempt_folder("a"), TREE)  # noqa: E731
    assert in_threads(first, second) == []
    assert transport.sent == {hash_bytes(b"t" * 100): 1}
    assert holds(worker, "a", terrain) == holds(worker, "b", terrain) == b"t" * 100


def test_when_the_one_that_sends_fails_the_next_one_sends(setting, tmp_path: Path):
    stager, transport, worker = setting
    terrain = staged(tmp_path / "terrain", b"t" * 100)
    sending, waiting = threading.Event(), threading.Event()

    def first_put(files: Sequence[object]) -> None:
        if not sending.is_set():
            sending.set()
            assert waiting.wait(60)
            raise WorkerError("the link is down")

    asked = []

    def second_stopped() -> bool:
        asked.append(1)
        if len(asked) == 2:
            waiting.set()
        return False

    def second() -> None:
        assert sending.wait(60)
        assert stager.stage([terrain], worker.attempt_folder("b"), TREE, second_stopped) == 100

    transport.before["put"] = first_put
    raised = in_threads(lambda: stager.stage([terrain], worker.attempt_folder("a"), TREE), second)
    assert [str(error) for error in raised] == ["the link is down"]
    assert holds(worker, "b", terrain) == b"t" * 100


def test_one_that_waits_can_be_stopped(setting, tmp_path: Path):
    stager, transport, worker = setting
    terrain = staged(tmp_path / "terrain", b"t" * 100)
    sending, stopped = threading.Event(), threading.Event()

    def first_put(files: Sequence[object]) -> None:
        sending.set()
        assert stopped.wait(60)

    asked = []

    def second_stopped() -> bool:
        asked.append(1)
        return len(asked) > 2

    def second() -> None:
        assert sending.wait(60)
        assert stager.stage([terrain], worker.attempt_folder("b"), TREE, second_stopped) == 0
        stopped.set()

    transport.before["put"] = first_put
    assert in_threads(lambda: stager.stage([terrain], worker.attempt_folder("a"), TREE), second) == []
    assert not Path(worker.attempt_folder("b")).exists()


@given(
    wants=st.lists(st.sets(st.integers(0, 5), min_size=1), min_size=2, max_size=5),
    fail_once=st.sets(st.integers(0, 5)),
)
def test_any_attempts_at_once_end_and_send_each_content_once(
    tmp_path_factory: pytest.TempPathFactory, wants: list[set[int]], fail_once: set[int]
):
    folder = tmp_path_factory.mktemp("any")
    worker, transport = watched(folder)
    stager = Stager(worker, FileHasher(Memory()))
    files = [staged(folder / f"{n}.hdf", bytes([n]) * 10) for n in range(6)]
    failing = {hash_bytes(bytes([n]) * 10) for n in fail_once}
    mutex, barrier = threading.Lock(), threading.Barrier(len(wants))

    def before_put(uploads: Sequence[object]) -> None:
        with mutex:
            hit = {upload.digest for upload in uploads} & failing
            failing.difference_update(hit)
        if hit:
            raise WorkerError("a transfer fails")

    def attempt(number: int) -> Callable[[], None]:
        def run() -> None:
            barrier.wait(60)
            while True:
                try:
                    stager.stage([files[n] for n in wants[number]], worker.attempt_folder(str(number)), TREE)
                except WorkerError:
                    continue  # as the controller does: a transfer fails once
                return

        return run

    transport.before["put"] = before_put
    assert in_threads(*(attempt(number) for number in range(len(wants)))) == []
    assert set(transport.sent.values()) == {1}
    for number, wanted in enumerate(wants):
        for n in wanted:
            assert holds(worker, str(number), files[n]) == bytes([n]) * 10


def test_what_is_taken_from_the_store_before_it_is_linked_to_is_sent_again(setting, tmp_path: Path):
    stager, transport, worker = setting
    terrain = staged(tmp_path / "terrain", b"t" * 100)
    transport.before["place"] = lambda places: transport.calls.count("place") == 1 and Path(places[0].source).unlink()
    assert stager.stage([terrain], worker.attempt_folder("a"), TREE) == 200
    assert holds(worker, "a", terrain) == b"t" * 100


def test_a_store_that_never_keeps_anything_is_said_to_be_so(setting, tmp_path: Path):
    stager, transport, worker = setting
    terrain = staged(tmp_path / "terrain", b"t")
    transport.before["place"] = lambda places: Path(places[0].source).unlink()
    with pytest.raises(WorkerError, match="vanish"):
        stager.stage([terrain], worker.attempt_folder("a"), TREE)


def test_a_workspace_that_cannot_be_made_for_another_reason_is_not_tried_again(setting, tmp_path: Path):
    stager, transport, worker = setting
    terrain = staged(tmp_path / "terrain", b"t")

    def fail(places: Sequence[object]) -> None:
        raise WorkerError("read-only file system")

    transport.before["place"] = fail
    with pytest.raises(WorkerError, match="read-only"):
        stager.stage([terrain], worker.attempt_folder("a"), TREE)
    assert transport.calls.count("place") == 1


def test_only_what_changed_is_sent_again(setting, tmp_path: Path):
    stager, transport, worker = setting
    changing, steady = staged(tmp_path / "a", b"old"), staged(tmp_path / "b", b"steady")

    def save(files: Sequence[object]) -> None:
        (tmp_path / "a").write_bytes(b"newer")

    transport.before["put"] = save
    assert stager.stage([changing, steady], worker.attempt_folder("a"), TREE) == len(b"steady") + len(b"newer")
    assert transport.sent == {hash_bytes(b"newer"): 1}
    assert holds(worker, "a", changing) == b"newer"


def test_a_file_that_never_stays_the_same_is_named(setting, tmp_path: Path):
    stager, transport, worker = setting
    changing = staged(tmp_path / "a", b"0")
    transport.before["put"] = lambda files: (tmp_path / "a").write_bytes(b"x" * len(transport.calls))
    with pytest.raises(InputError, match="keep changing"):
        stager.stage([changing], worker.attempt_folder("a"), TREE)
    with pytest.raises(SourceChangedError, match=r"[/\\]a changed"):
        transport.put([Upload(tmp_path / "a", transport.root / "store" / "x", "0" * 64)])


def test_nothing_is_made_of_what_was_stopped(setting, tmp_path: Path):
    stager, transport, worker = setting
    files = [staged(tmp_path / str(n), bytes([n])) for n in range(3)]
    stopped: list[bool] = []
    transport.before["put"] = lambda uploads: stopped.append(True)
    stager.stage(files, worker.attempt_folder("a"), TREE, lambda: bool(stopped))
    assert "place" not in transport.calls
    assert not Path(worker.attempt_folder("a")).exists()


def test_the_store_is_trimmed_at_first_and_when_much_was_sent(tmp_path: Path, journal: Journal):
    worker, transport = watched(tmp_path, store_limit="1kB")
    stager = Stager(worker, FileHasher(journal))
    for number, expected in enumerate((1, 1, 2, 2)):  # 60 bytes each: 120 are more than a tenth of the limit
        stager.stage([staged(tmp_path / str(number), bytes([number]) * 60)], worker.attempt_folder(str(number)), TREE)
        assert transport.trimmed == [1000] * expected, number


def test_a_store_that_cannot_be_trimmed_is_a_warning(tmp_path: Path, journal: Journal):
    worker, transport = watched(tmp_path)
    said: list[str] = []

    def fail(_: Sequence[object]) -> None:
        raise WorkerError("no right to remove", host="node1")

    transport.before["trim"] = fail
    Stager(worker, FileHasher(journal), said.append).stage(
        [staged(tmp_path / "a", b"a")], worker.attempt_folder("a"), TREE
    )
    assert len(said) == 1
    assert "could not be trimmed" in said[0]
    assert "node1" in said[0]


@pytest.mark.parametrize("freed", [0, 5])
def test_a_full_disk_empties_the_store_once(setting, tmp_path: Path, freed: int):
    stager, transport, worker = setting
    transport.freed = freed
    terrain = staged(tmp_path / "terrain", b"t" * 100)

    def full(files: Sequence[object]) -> None:
        if not transport.trimmed or not freed:
            raise DiskFullError(transport.root, step="stage", host=transport.host)

    transport.before["put"] = full
    if freed:
        assert stager.stage([terrain], worker.attempt_folder("a"), TREE) == 100
        assert transport.trimmed[0] == 0
    else:
        with pytest.raises(DiskFullError, match="is full"):
            stager.stage([terrain], worker.attempt_folder("a"), TREE)
        assert transport.trimmed == [0]
