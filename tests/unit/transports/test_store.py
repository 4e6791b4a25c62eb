"""What goes from a store that is too large, and what must stay."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ras_runner.hashing import hash_bytes
from ras_runner.transports import local as local_module
from ras_runner.transports.base import Place
from ras_runner.transports.local import LocalTransport
from ras_runner.transports.store import KEEP_MINUTES, StoreFile, evicted

NOW = 1e9
HOUR = 60.0 * KEEP_MINUTES


keeps_access_times = pytest.mark.skipif(
    sys.platform == "win32", reason="wine tells the present as the access time of every file"
)


def name(number: int) -> str:
    digest = hash_bytes(str(number).encode())
    return f"{digest[:2]}/{digest}"


ages = st.floats(0, 1e7)
stores = st.lists(st.tuples(st.integers(0, 100), ages, st.integers(1, 3)), max_size=20).map(
    lambda rows: [StoreFile(name(i), size, NOW - age, links) for i, (size, age, links) in enumerate(rows)]
)


@given(files=stores, limit=st.integers(0, 800))
def test_the_longest_unused_go_and_no_more_than_needed(files: list[StoreFile], limit: int):
    gone = evicted(files, limit, NOW)
    assert all(file.links == 1 and NOW - file.used > HOUR for file in gone)
    total, freed = sum(file.size for file in files), sum(file.size for file in gone)
    free = [file for file in files if file.links == 1 and NOW - file.used > HOUR]
    assert total - freed <= limit or len(gone) == len(free)
    if gone:
        assert total - freed + gone[-1].size > limit
        kept = [file.used for file in free if file not in gone]
        assert not kept or max(file.used for file in gone) <= min(kept)


def test_what_is_not_content_is_neither_counted_nor_taken():
    others = [
        StoreFile(text, 10**9, 0.0, 1) for text in ("notes.txt", "ab/x.1.part", "../ab/" + "0" * 64, "in.1.part/x")
    ]
    assert evicted(others, 0, NOW) == []
    content = StoreFile(name(1), 5, 0.0, 1)
    assert evicted([*others, content], 4, NOW) == [content]
    assert evicted([*others, content], 5, NOW) == []


def fill(transport: LocalTransport, count: int, age: float) -> list[Path]:
    paths = [transport.root / "store" / name(number) for number in range(count)]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 10)
        when = time.time() - age + number
        os.utime(path, (when, when))
    return paths


@keeps_access_times
def test_the_local_store(tmp_path: Path):
    transport = LocalTransport(tmp_path)
    paths = fill(transport, 6, 2 * HOUR)
    transport.place([Place(paths[0], tmp_path / "w" / "a1" / "terrain", link=True)])
    mtime = paths[1].stat().st_mtime_ns
    assert transport.stored([paths[1], tmp_path, tmp_path / "none"]) == {paths[1]: 10}
    assert paths[1].stat().st_mtime_ns == mtime, "a workspace shares it, and results are told by it"
    stale, lately = paths[2].with_name("y.1.part"), paths[2].with_name("y.2.part")
    for part, age in ((stale, 25), (lately, 23)):
        part.write_bytes(b"1234567")
        os.utime(part, (time.time() - age * HOUR,) * 2)
    assert transport.trim(35) == 7 + 30
    assert [path.exists() for path in paths] == [True, True, False, False, False, True]
    assert (stale.exists(), lately.exists()) == (False, True)
    assert transport.trim(35) == 0
    assert transport.trim(0) == 10
    assert transport.trim(0) == 0
    transport.remove(tmp_path / "w" / "a1")
    assert transport.trim(0) == 10
    assert LocalTransport(tmp_path / "never").trim(0) == 0


@keeps_access_times
def test_what_is_used_while_the_store_is_trimmed_stays(tmp_path: Path, monkeypatch):
    """Between the look at the store and the removal another controller marks one file, links one and removes one."""
    transport, other = LocalTransport(tmp_path), LocalTransport(tmp_path)
    paths = fill(transport, 5, 2 * HOUR)

    def late(files, limit, now):
        victims = evicted(files, limit, now)
        other.stored([paths[0]])
        other.place([Place(paths[1], tmp_path / "w" / "a1" / "terrain", link=True)])
        paths[2].unlink()
        return victims

    monkeypatch.setattr(local_module, "evicted", late)
    assert transport.trim(0) == 20
    assert [path.exists() for path in paths] == [True, True, False, False, False]


@keeps_access_times
def test_two_controllers_trim_at_once(tmp_path: Path):
    transport = LocalTransport(tmp_path)
    paths = fill(transport, 200, 2 * HOUR)
    freed: list[int] = []
    barrier = threading.Barrier(2)

    def trim() -> None:
        barrier.wait(60)
        freed.append(transport.trim(500))

    threads = [threading.Thread(target=trim) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(path.exists() for path in paths) == 50
    assert all(path.exists() for path in paths[150:])
    assert sum(freed) >= 1500
