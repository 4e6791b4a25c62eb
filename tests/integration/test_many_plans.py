"""Many plans of several projects on an engine that takes no time: killed in the middle, resumed to the end."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest
from tests.commands import Runner, wait_until
from tests.unit.hecras.builders import result

from ras_runner.campaign.journal import Journal
from ras_runner.hecras.example import write_example_project

#: Copies a finished result, but for two plans of each project.
RAS_EXE = """#!/bin/sh
number=${{3##*.p}}
echo "${{3##*/}}" >> '{folder}/runs'
case $number in
    08) exit 9 ;;
    09) cp '{folder}/unstable.hdf' "${{2%.prj}}.p$number.hdf" ;;
    *) cp '{folder}/finished.hdf' "${{2%.prj}}.p$number.hdf" ;;
esac
"""
PROJECTS = ("Bear Creek", "Elk River", "Moose Lake", "Süd Fluss")
#: The others are steady, whose results look different.
NUMBERS = [f"{number:02d}" for number in range(1, 47) if number % 7]


@pytest.mark.skipif(sys.platform == "win32", reason="Ras.exe is a shell script here")
def test_every_plan_of_a_campaign_that_was_killed_has_its_outcome_and_ran_once(tmp_path: Path) -> None:
    exe = tmp_path / "6.6" / "Ras.exe"
    exe.parent.mkdir()
    exe.write_text(RAS_EXE.format(folder=tmp_path), encoding="utf-8")
    exe.chmod(0o755)
    result(tmp_path / "finished.hdf", plan="")
    result(tmp_path / "unstable.hdf", plan="", unstable="01JAN2025 03:00:00")
    for name in PROJECTS:
        write_example_project(tmp_path / "studies" / name, name, plans=46)
    runner = Runner(tmp_path, slots=4, variables={"ras_engine": "hecras-windows", "ras_exe_path": str(exe)})
    (tmp_path / "state").mkdir()
    journal = Journal(tmp_path / "state")

    def over() -> int:
        row = journal.row("SELECT COUNT(*) AS n FROM tasks WHERE outcome IS NOT NULL")
        return int(row["n"]) if row else 0

    try:
        controller = runner.start(
            "execute", tmp_path / "studies", "-i", runner.inventory, "--plans", ",".join(NUMBERS), "--num-cores", 1
        )
        wait_until(lambda: over() >= 60, "60 plans are over")
        controller.kill()
        controller.wait()
        assert over() < len(PROJECTS) * len(NUMBERS), "it was not killed in the middle"
        rows = runner.json("resume", code=1)
    finally:
        runner.stop_engines()
        journal.close()

    names = [f"{project}.p{number}" for project in PROJECTS for number in NUMBERS]
    assert [row["plan_number"] for row in rows] == names
    bad = {"08": "engine-error", "09": "unstable"}
    assert {row["plan_number"]: row["outcome"] for row in rows} == {
        name: bad.get(name[-2:], "completed") for name in names
    }
    assert all(bool(row["error_message"]) == (row["plan_number"][-2:] in bad) for row in rows)
    for row in rows:
        if row["success"]:
            project = row["plan_number"].rpartition(".")[0]
            assert Path(row["hdf_path"]) == tmp_path / "studies" / project / f"{row['plan_number']}.hdf"
            assert Path(row["hdf_path"]).is_file()
    ran = Counter((tmp_path / "runs").read_text(encoding="utf-8").splitlines())
    assert ran == Counter(names), "a plan ran twice, or never"
    assert len(runner.workspaces()) == len(PROJECTS) * len(bad), "those of failed plans are kept, and no others"
