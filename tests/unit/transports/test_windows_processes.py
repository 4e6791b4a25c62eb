"""Whose processes are whose on a Windows host."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ras_runner.engines.cmdline import quote_cmd
from ras_runner.transports.windows_processes import (
    BadListError,
    KnownTree,
    Process,
    attempt_processes,
    list_command,
    read_processes,
)

RUN = Process(10, 4, 100, command=r'"cmd.exe" /d /c .\run.cmd a1b2')
STEPS = Process(11, 10, 110, command=r"cmd.exe /d /c .\run.cmd steps a1b2")
RAS = Process(12, 11, 120, command=r'"C:\HEC\Ras.exe" -c ras.prj ras.p01')
SOLVER = Process(13, 12, 130, command="RasUnsteady.exe ras.p01.tmp.hdf x01")
OTHERS = [
    Process(4, 0, 1),
    Process(20, 4, 105, command=r'"cmd.exe" /d /c .\run.cmd ffff'),
    Process(21, 20, 115, command=r'"C:\HEC\Ras.exe" -c ras.prj ras.p01'),
    Process(22, 4, 50, command="notepad a1b2.txt"),
]


def ours(processes: list[Process], known: KnownTree, now: int = 1000) -> list[int]:
    return [p.pid for p in attempt_processes(processes, now, "a1b2", known)]


def test_the_tree_is_found_by_its_mark_and_by_descent():
    assert ours([*OTHERS, SOLVER, RAS, STEPS, RUN], KnownTree()) == [10, 11, 12, 13]


def test_a_solver_whose_parent_has_ended_is_still_ours_for_the_next_controller_too():
    known = KnownTree()
    ours([*OTHERS, RUN, STEPS, RAS], known, 125)
    late = Process(14, 13, 150, command="RasPostProcess.exe")
    again = KnownTree.from_json(known.to_json())
    assert ours([*OTHERS, SOLVER], again, 140) == [13]
    assert ours([*OTHERS, late], again, 160) == [14]


def test_a_number_that_another_process_has_now_is_not_ours():
    known = KnownTree()
    ours([RUN, STEPS, RAS], known, 125)
    reused = Process(12, 4, 200, command="explorer.exe")
    child = Process(30, 12, 210, command="calc.exe")
    assert ours([RUN, STEPS, reused, child], known, 220) == [10, 11]
    ours([RUN, STEPS], known, 230)
    assert ours([RUN, STEPS, Process(31, 12, 300, command="calc.exe")], known, 310) == [10, 11]


def test_a_process_older_than_its_parent_is_no_child():
    assert ours([RUN, Process(40, 10, 90)], KnownTree()) == [10]


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 50)), unique_by=lambda p: p[0]))
def test_nothing_that_does_not_descend_from_ours_is_taken(rows: list[tuple[int, int, int]]):
    processes = [Process(pid, parent, created) for pid, parent, created in rows if pid != RUN.pid]
    found = attempt_processes([*processes, RUN], 1000, "a1b2", KnownTree())
    by_pid = {p.pid: p for p in found}
    for process in found:
        assert process is RUN or (
            process.parent in by_pid and by_pid[process.parent].created <= process.created and process.created >= 100
        )


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b'[["a", 1, null]]', None])
def test_a_torn_memory_is_no_memory(text: bytes | None):
    assert KnownTree.from_json(text).gone == {}


def test_what_powershell_prints_is_read():
    now, found = read_processes("\ufeff133000\r\n10 4 100 20000000 cmd.exe /c .\\run.cmd a1b2\r\n12 10 110 0 \r\n")
    assert now == 133000
    assert found == [Process(10, 4, 100, 2.0, r"cmd.exe /c .\run.cmd a1b2"), Process(12, 10, 110, 0.0, "")]


@pytest.mark.parametrize("text", ["", "12", "Get-CimInstance : Access denied", "1\n2 3"])
def test_anything_else_is_not(text: str):
    with pytest.raises(BadListError):
        read_processes(text)


def test_the_command_can_be_said_in_a_batch_file_and_names_processes_by_time():
    command = list_command([RAS, SOLVER])
    assert "@('12 120', '13 130')" in command
    assert quote_cmd(command)
    assert len(quote_cmd(list_command([SOLVER] * 100))) < 8000
