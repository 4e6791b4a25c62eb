"""What a transport is asked about an attempt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PureWindowsPath

from ras_runner.campaign.attempt import new_attempt
from ras_runner.engines.base import RunSettings
from ras_runner.engines.hecras_windows import HecRasWindowsEngine
from ras_runner.hecras.project import Project
from ras_runner.workers.registry import make_worker


def test_windows_hecras_is_looked_at_as_a_tree_of_processes_with_their_cpu_time(project: Project, tmp_path: Path):
    """Not by its files alone: then every run would count as dead at its first look."""
    made = make_worker("local", {"engine": "standin", "worker_folder": tmp_path})
    engine = HecRasWindowsEngine(PureWindowsPath(r"C:\HEC-RAS\6.6\Ras.exe"), "6.6")
    attempt = new_attempt("a1", project.plan("01"), replace(made, engine=engine), 0, RunSettings(1))
    probe = attempt.probe()
    assert (probe.whole_tree, probe.cpu, probe.files_only) == (True, True, False)
