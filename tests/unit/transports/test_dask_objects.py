"""Attempts through object storage, on ``file://`` and without Dask: what is damaged, lost, or tried twice."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from ras_runner.errors import InputError, OperatorError, TransientError, WorkerError
from ras_runner.hashing import SourceChangedError, hash_bytes
from ras_runner.outcomes import Outcome
from ras_runner.transports import dask_object_task
from ras_runner.transports.base import Place, Probe, Upload
from ras_runner.transports.dask_objects import DaskObjects
from ras_runner.transports.dask_storage import Storage
from ras_runner.workers.registry import make_worker

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="runs a script of sh")

TERRAIN = b"terrain" * 1000
DIGEST = hash_bytes(TERRAIN)
ATTEMPT = "0123456789"
SCRIPT = b'cd "$(dirname "$0")" && mkdir claim && echo hello >stdout.log && cat p/d/t.tif p/d/own >p/d/result && %s\n'
ENDS = b"echo '{\"exit_code\": 0}' >exit.json"


class Here:
    """A Dask cluster in this process: a task runs when it is told to.

    Attributes:
        tasks: that were submitted, by key.
        there: addresses of its workers.
    """

    address = "tcp://127.0.0.1:1"

    def __init__(self) -> None:
        self.tasks: dict[str, Callable[[], None]] = {}
        self.there = {"tcp://w:1"}

    def submit(self, key: str, task: Callable[..., None], *arguments: object) -> None:
        self.tasks[key] = lambda: task(*arguments)

    def going_on(self, keys: Sequence[str]) -> set[str]:
        return set(keys) & set(self.tasks)

    def cancel(self, key: str) -> None:
        self.tasks.pop(key, None)

    def workers_there(self) -> set[str]:
        return self.there

    def ask_workers(self, workers: Sequence[str], question: Callable[..., object], *arguments: object) -> dict:
        return {worker: question(*arguments) for worker in workers}

    def run(self) -> None:
        """Run what was submitted, to its end."""
        (task,) = self.tasks.values()
        task()
        self.tasks.clear()


class Cloud:
    """A transport on ``file://``, with one attempt that makes a result of a shared and a private file."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cluster = folder / "bucket", Here()
        self.workers = folder / "there"
        self.transport = self.other_controller()
        self.root = PurePosixPath(self.workers)
        self.attempt = self.root / "w" / ATTEMPT
        self.tree = self.attempt / "p" / "d"
        self.store = self.root / "store" / DIGEST[:2] / DIGEST
        self.source = folder / "t.tif"
        self.source.write_bytes(TERRAIN)
        self.scratch = folder / "scratch"

    @property
    def probe(self) -> Probe:
        return Probe(ATTEMPT, self.attempt, "", (self.attempt / "stdout.log",))

    def other_controller(self) -> DaskObjects:
        cluster: Any = self.cluster
        return DaskObjects(cluster, PurePosixPath(self.workers), Storage(f"file://{self.folder}"), 1 << 30)

    def launch(self, ends: bytes = ENDS) -> None:
        """Stage and submit, as a controller does."""
        if not self.transport.stored([self.store]):
            self.transport.put([Upload(self.source, self.store, DIGEST)])
        self.transport.place([Place(self.store, self.tree / "t.tif", True)])
        self.transport.put([Upload(b"own", self.tree / "own"), Upload(SCRIPT % ends, self.attempt / "run.sh")])
        self.transport.launch(ATTEMPT, self.attempt, "run.sh")

    def object(self, name: str) -> Path:
        return self.folder / "w" / ATTEMPT / name

    def state(self) -> dict[str, Any]:
        return dict(json.loads(self.object("state.json").read_bytes()))


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    monkeypatch.setattr(dask_object_task, "this_worker", lambda: "tcp://w:1")
    return Cloud(tmp_path)


def test_an_attempt_from_its_inputs_to_its_result(cloud: Cloud) -> None:
    cloud.launch()
    waiting = cloud.transport.poll([cloud.probe])[ATTEMPT]
    assert waiting.alive and "queue" in waiting.waiting
    cloud.cluster.run()
    done = cloud.transport.poll([cloud.probe])[ATTEMPT]
    assert (done.alive, done.exit_code, done.tails, done.note) == (False, 0, ("hello\n",), "")
    for transport in (cloud.transport, cloud.other_controller()):
        collected = transport.collect(cloud.probe, cloud.tree, ("res*", "none*"), cloud.scratch)
        assert collected.names == ("result",)
        assert (collected.folder / "result").read_bytes() == TERRAIN + b"own"
        assert transport.read(cloud.attempt / "stdout.log", start=2) == b"llo\n"
        assert transport.read(cloud.tree / "own") == b"own"
        assert transport.read(cloud.tree / "t.tif", last=7) == b"terrain"
        assert transport.read(cloud.tree / "nothing") is None
    assert [path.name for path in cloud.workers.iterdir()] != []
    assert not (cloud.workers / "w" / ATTEMPT).exists()
    assert [found.attempt for found in cloud.transport.attempts()] == [ATTEMPT]
    cloud.transport.remove(cloud.attempt)
    assert cloud.transport.attempts() == []
    assert cloud.transport.stored([cloud.store]) == {cloud.store: len(TERRAIN)}


def test_an_attempt_runs_once_however_often_dask_gives_it_out(cloud: Cloud) -> None:
    cloud.launch(b"echo again >>../../../runs; " + ENDS)
    task = next(iter(cloud.cluster.tasks.values()))
    task()
    said = cloud.state()
    task()
    assert cloud.state() == said
    cloud.object("state.json").unlink()  # as if the first had been lost on its way
    task()
    assert cloud.state()["reason"] == "the Dask worker that ran it has gone (tcp://w:1)"
    assert (cloud.workers.parent / "runs").read_text() == "again\n"
    status = cloud.other_controller().poll([cloud.probe])[ATTEMPT]
    assert (status.alive, status.outcome) == (False, Outcome.INFRASTRUCTURE_LOST)


def test_what_the_controller_claims_never_runs(cloud: Cloud) -> None:
    assert cloud.transport.claim(cloud.attempt)  # nothing was launched
    assert not cloud.object("claim").exists()
    cloud.launch()
    task = next(iter(cloud.cluster.tasks.values()))
    cloud.transport.stop(cloud.probe)
    assert not cloud.other_controller().claim(cloud.attempt)
    cloud.transport.stop(cloud.probe)
    task()
    assert not (cloud.workers / "w").exists()
    assert not cloud.transport.poll([cloud.probe])[ATTEMPT].alive


def test_a_stop_is_heard_before_the_script_is_started(cloud: Cloud) -> None:
    cloud.launch(b"touch ../../../begun; " + ENDS)
    cloud.object("stop").write_bytes(b"stop")
    cloud.cluster.run()
    assert cloud.state()["reason"] == "stopped"
    assert not (cloud.workers / "store").exists()  # nothing was fetched either
    assert not (cloud.workers.parent / "begun").exists()


def test_a_damaged_input_is_removed_and_sent_again(cloud: Cloud) -> None:
    cloud.launch()
    damaged = cloud.folder / "store" / DIGEST[:2] / DIGEST
    damaged.write_bytes(TERRAIN[::-1])
    cloud.cluster.run()
    status = cloud.transport.poll([cloud.probe])[ATTEMPT]
    assert "does not have the digest" in status.note and "sent again" in status.note
    assert not damaged.exists()
    assert cloud.transport.stored([cloud.store]) == {}


def test_an_input_that_has_vanished_is_said(cloud: Cloud) -> None:
    cloud.launch()
    (cloud.folder / "store" / DIGEST[:2] / DIGEST).unlink()
    cloud.cluster.run()
    status = cloud.transport.poll([cloud.probe])[ATTEMPT]
    assert "has vanished" in status.note
    assert status.outcome is Outcome.INFRASTRUCTURE_LOST


def test_a_manifest_that_somebody_has_changed_is_not_run(cloud: Cloud) -> None:
    cloud.launch()
    cloud.object("manifest.json").write_text('{"files": {"run.sh": {"base64": ""}}}')
    cloud.cluster.run()
    assert "is not the one that was put" in cloud.transport.poll([cloud.probe])[ATTEMPT].note


def test_a_result_that_is_damaged_or_gone_is_not_taken(cloud: Cloud) -> None:
    cloud.launch()
    cloud.cluster.run()
    result = cloud.object(cloud.state()["files"]["p/d/result"]["object"])
    good = result.read_bytes()
    result.write_bytes(good[::-1])
    with pytest.raises(TransientError, match="does not have the digest"):
        cloud.transport.collect(cloud.probe, cloud.tree, ("result",), cloud.scratch)
    assert list(cloud.scratch.iterdir()) == []
    result.unlink()
    with pytest.raises(WorkerError, match="has vanished"):
        cloud.transport.collect(cloud.probe, cloud.tree, ("result",), cloud.scratch)


def test_a_large_result_is_sent_again_however_long_a_try_took(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    tries: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    storage = Storage(f"file://{cloud.folder}")
    files, _ = storage._files()
    put = files.put_file

    def breaks(source: str, target: str) -> None:
        tries.append(clock[0])
        clock[0] += 600.0
        if len(tries) < 4:
            raise ConnectionError("reset")
        put(source, target)

    monkeypatch.setattr(files, "put_file", breaks)
    assert storage.upload(cloud.source, "out", "collect") == DIGEST
    assert len(tries) == 4


def test_last_word_of_a_guard_that_cannot_work(cloud: Cloud) -> None:
    cloud.launch()
    cloud.workers.mkdir()
    (cloud.workers / "w").write_text("a file where the folder is to be")
    cloud.cluster.run()
    status = cloud.transport.poll([cloud.probe])[ATTEMPT]
    assert "its guard was lost, with exit code 1" in status.note
    assert f"'{cloud.workers / 'w'}" in status.note


def test_a_task_that_ended_without_a_word_is_not_waited_for(cloud: Cloud) -> None:
    cloud.launch()
    cloud.object("claim").write_text('{"worker": "tcp://w:1"}')
    cloud.cluster.tasks.clear()
    assert "without a last word" in cloud.transport.poll([cloud.probe])[ATTEMPT].note
    cloud.cluster.there.clear()
    assert "has gone (tcp://w:1)" in cloud.transport.poll([cloud.probe])[ATTEMPT].note
    assert not cloud.object("stop").exists()  # a look at what another controller may have launched, on another cluster
    cloud.transport.poll([replace(cloud.probe, native_id=f"ras-runner-{ATTEMPT}")])
    assert cloud.object("stop").exists()


def test_a_last_word_that_comes_while_it_is_asked_for_counts(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.launch()
    cloud.object("claim").write_text('{"worker": "tcp://w:1"}')
    cloud.cluster.tasks.clear()  # a scheduler that has forgotten it

    def ends(workers: Sequence[str], *_: object) -> dict[str, object]:
        cloud.object("state.json").write_text('{"phase": "over", "exit_code": 0, "reason": ""}')
        return dict.fromkeys(workers)

    monkeypatch.setattr(cloud.cluster, "ask_workers", ends)
    status = cloud.transport.poll([cloud.probe])[ATTEMPT]
    assert (status.alive, status.exit_code, status.outcome) == (False, 0, None)


def test_nothing_but_attempts_is_removed_and_nothing_leaves_the_prefix(cloud: Cloud) -> None:
    for path in (cloud.root / "store", cloud.tree, cloud.root / "w" / "..", PurePosixPath("/etc/w/x"), cloud.root):
        with pytest.raises(WorkerError, match="is not"):
            cloud.transport.remove(path)
    cloud.source.write_bytes(b"changed")
    with pytest.raises(SourceChangedError):
        cloud.transport.put([Upload(cloud.source, cloud.store, DIGEST)])
    assert cloud.transport.stored([cloud.store]) == {}


def test_storages_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adlfs", None)
    with pytest.raises(InputError, match="rotocol not known"):
        Storage("nosuch://a/b").read("x")
    with pytest.raises(OperatorError, match="pip install adlfs"):
        Storage("az://a/b").read("x")


def test_a_key_in_the_url_is_refused_and_not_said_whatever_it_is_made_of() -> None:
    parameters = {"scheduler_address": "tcp://127.0.0.1:1", "worker_folder": "/w", "hecras_folder": "/opt/6.6"}
    with pytest.raises(InputError, match="without a password") as caught:
        make_worker("dask", {**parameters, "storage_url": "s3://key:wJalr/bPx+RfiCY@bucket/a"})
    assert "bPx" not in str(caught.value)
