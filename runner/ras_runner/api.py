"""The Python API: open a project, name workers, compute plans on them. Kept from the seed of this project."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ras_runner.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ras_runner.campaign.campaigns import PlanNumbers
    from ras_runner.campaign.view import TaskView
    from ras_runner.hecras.project import Project
    from ras_runner.workers.group import AnyWorker


@dataclass(frozen=True, slots=True)
class ExecutionResult:
    """What became of one plan.

    Attributes:
        plan_number: ``01`` to ``99``.
        worker_id: the worker that computed it; empty when none did.
        success: the result is complete and published.
        hdf_path: the published results HDF; None on failure.
        error_message: why it failed, where, and what to do next; None on success.
        execution_time: seconds from launch to end; 0 for a plan that was not run again.
        outcome: the word for how it ended, as in :class:`ras_runner.outcomes.Outcome`.
        attempts: how often it was tried.
        engine: name and version of the engine.
        warnings: what the engine warned of.
    """

    plan_number: str
    worker_id: str
    success: bool
    hdf_path: str | None = None
    error_message: str | None = None
    execution_time: float = 0.0
    outcome: str = ""
    attempts: int = 0
    engine: str = ""
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class RasProject:
    """An open project, as :func:`init_ras_project` returns it.

    Attributes:
        project: the project.
        ras_version: the HEC-RAS version asked for, ``6.6``; empty for the newest installed.
        ras_exe_path: Ras.exe, when it was given by path.
    """

    project: Project
    ras_version: str = ""
    ras_exe_path: str = ""

    @property
    def project_folder(self) -> Path:
        """Folder of the .prj."""
        return self.project.folder

    @property
    def project_name(self) -> str:
        """Base name of the project's files."""
        return self.project.name


_current: RasProject | None = None


def init_ras_project(ras_project_folder: str | Path, ras_version: str | None = None) -> RasProject:
    """Open a project and make it the current one.

    Args:
        ras_project_folder: its folder or .prj file.
        ras_version: HEC-RAS version (``6.6``), or the path of Ras.exe; the newest installed when left out.

    Raises:
        InputError: no such project.
    """
    global _current  # noqa: PLW0603  the seed's API has a current project
    from ras_runner.hecras.project import Project

    version = ras_version or ""
    by_path = version.lower().endswith(".exe") or bool(re.search(r"[\\/]", version))
    _current = RasProject(Project.open(ras_project_folder), "" if by_path else version, version if by_path else "")
    return _current


def init_ras_worker(worker_type: str, ras_object: RasProject | None = None, **parameters: Any) -> AnyWorker:
    """Make a worker that is ready to take plans, or a group of cloud machines that join a campaign as it needs them.

    Args:
        worker_type: ``local``, ``ssh``, ``docker``, ``slurm``, ``dask``, ``winrm``, ``psexec``; of groups ``aws_ec2``,
            ``azure``.
        ras_object: project whose HEC-RAS version is used when ``ras_exe_path`` and ``version`` are not given; the
            current project when left out.
        parameters: of the worker type; docs/workers has a page for each.

    Raises:
        InputError: unknown worker type or parameter; the valid ones are listed.
        OperatorError: its engine is not installed; says what was looked for and where.
    """
    from ras_runner.workers.registry import make_any_worker

    project = ras_object or _current
    asks_hecras = worker_type == "local" and parameters.get("engine", "hecras-windows") == "hecras-windows"
    if isinstance(project, RasProject) and asks_hecras and not {"version", "ras_exe_path"} & parameters.keys():
        if project.ras_exe_path:
            parameters.setdefault("ras_exe_path", project.ras_exe_path)
            parameters.setdefault("engine", "hecras-windows")
        elif project.ras_version:
            parameters.setdefault("version", project.ras_version)
    return make_any_worker(worker_type, parameters)


def get_worker_status(workers: Sequence[AnyWorker]) -> dict[str, dict[str, Any]]:
    """A summary of workers by worker id: type, host, priority, slots, and whether its engine can be used now.

    Groups are asked how many machines they have (``machines``); their slots are those of as many as they may have.
    """
    return {worker.spec.worker_id: _status(worker) for worker in workers}


def _status(worker: AnyWorker) -> dict[str, Any]:
    from ras_runner.errors import RasRunnerError
    from ras_runner.workers.base import Worker

    machines, others, problem = 1, dict[str, Any](), ""
    try:
        if isinstance(worker, Worker):
            worker.engine.check()
        else:
            machines = worker.spec.max_machines
            view = worker.look()
            others, problem = {"machines": len(view.machines)}, view.shortage
    except RasRunnerError as error:
        problem = str(error)
    return {
        "worker_type": worker.type,
        "hostname": worker.hostname,
        "queue_priority": worker.spec.queue_priority,
        "max_parallel_plans": worker.spec.slots() * machines,
        "engine": worker.engine.name,
        "available": not problem,
        "problem": problem,
        **others,
    }


def compute_parallel_remote(
    plan_numbers: PlanNumbers | Mapping[Any, PlanNumbers],
    workers: Sequence[AnyWorker],
    ras_object: Any = None,
    num_cores: int = 4,
    clear_geompre: bool = False,
    force_rerun: bool = False,
    max_concurrent: int | None = None,
    autoclean: bool = True,
    *,
    timeout: float | None = None,
    stuck_after: float = 10.0,
    retries: int = 0,
    lost_after: float = 120.0,
    state_dir: str | Path | None = None,
    say: Callable[[str], None] | None = None,
) -> dict[str, ExecutionResult]:
    """Compute plans of one or several projects on workers: journalled, resumable, verified, published whole.

    Args:
        plan_numbers: one number, a list of them, or all: ``all`` or None. With several projects these are of each;
            or a dictionary that has them by project (its name, or what ``ras_object`` has), where projects that are
            not named have no part.
        workers: from :func:`init_ras_worker`; lower ``queue_priority`` is filled first.
        ras_object: from :func:`init_ras_project`, or a project object of ras-commander (``project_folder``,
            ``project_name``), or the path of a ``.prj`` or folder; a folder without a project stands for all projects
            below it. A list of these is one campaign over many projects. The current project when left out.
        num_cores: cores of each plan.
        clear_geompre: leave the geometry preprocessor's files out, so that the engine makes them anew.
        force_rerun: run plans as well whose results are current.
        max_concurrent: limit of plans running at once over all workers.
        autoclean: remove the workspaces of plans that completed; those of failed plans are kept.
        timeout: minutes after which a plan is stopped.
        stuck_after: minutes without CPU time and progress after which Windows HEC-RAS is stopped, as it must be waiting
            in a window for a person; and after which a Slurm job is given up that only a person can help to start.
        retries: how often a plan is repeated after a failure of the model itself.
        lost_after: seconds after which a worker that cannot be reached has lost the plans that run there.
        state_dir: where the journal is kept; the user's state folder when left out.
        say: takes a line of text when something happens.

    Returns:
        One result for each plan, by plan number; with several projects by plan name, such as ``Creek.p01``.

    Raises:
        InputError: a project, plan or parameter is wrong, or two projects have one name; nothing was run or written.
        OperatorError: a person must act first.
        KeyboardInterrupt: interrupted; the campaign can be resumed with ``ras-runner resume``.
    """
    from ras_runner.campaign.campaigns import (
        CampaignSettings,
        create_campaign,
        prepare_plans,
    )
    from ras_runner.campaign.journal import Journal, default_state_dir
    from ras_runner.campaign.projects import choose_plans, open_projects
    from ras_runner.campaign.run import run_campaign
    from ras_runner.campaign.view import campaign_view
    from ras_runner.validation import validated

    plans = choose_plans(open_projects(_paths(ras_object)), _by_path(plan_numbers))
    settings = validated(
        CampaignSettings,
        {
            "num_cores": num_cores,
            "clear_geompre": clear_geompre,
            "force_rerun": force_rerun,
            "max_concurrent": max_concurrent,
            "keep_workspaces": not autoclean,
            "timeout": timeout,
            "stuck_after": stuck_after,
            "retries": retries,
            "lost_after": lost_after,
        },
        "compute_parallel_remote",
    )
    journal = Journal(Path(state_dir) if state_dir else default_state_dir())
    try:
        prepared = prepare_plans(plans, workers, settings, journal)
        campaign = create_campaign(journal, plans[0].project, prepared, workers, settings)
        run_campaign(journal, campaign, workers, say or (lambda line: None))
        return {task.plan_number: execution_result(task) for task in campaign_view(journal, campaign).tasks}
    finally:
        journal.close()


def _paths(ras_object: Any) -> list[Path]:
    """Where the projects are that are meant by ``ras_object``, or the current one."""
    chosen = ras_object if ras_object is not None else _current
    if chosen is None:
        raise InputError(
            "no project is open", step="open project", action="call init_ras_project(folder) first, or give ras_object"
        )
    paths = [_path(each) for each in chosen] if isinstance(chosen, list | tuple) else [_path(chosen)]
    if not paths:
        raise InputError("ras_object is an empty list", step="open project", action="give at least one project")
    return paths


def _path(ras_object: Any) -> Path:
    """Where a project is: by its path, or as :func:`init_ras_project` or ras-commander returned it."""
    if isinstance(ras_object, str | Path):
        return Path(ras_object)
    if isinstance(ras_object, RasProject):
        return ras_object.project.prj
    folder, name = getattr(ras_object, "project_folder", None), getattr(ras_object, "project_name", None)
    if folder is None or name is None:
        raise InputError(
            f"ras_object is a {type(ras_object).__name__}, which has no project_folder and project_name",
            step="open project",
            action="give what init_ras_project returned, the path of a project, or a list of these",
        )
    return Path(folder) / f"{name}.prj"


def _by_path(plan_numbers: Any) -> Any:
    """Plan numbers as `choose_plans` takes them: objects become their path."""
    if not isinstance(plan_numbers, Mapping):
        return plan_numbers
    return {key if isinstance(key, str) else _path(key): numbers for key, numbers in plan_numbers.items()}


def execution_result(task: TaskView) -> ExecutionResult:
    """A plan of a campaign as an :class:`ExecutionResult`."""
    success = task.outcome is not None and task.outcome.success
    message = None if success else task.message or f"the plan is {task.state}"
    return ExecutionResult(
        task.plan_number,
        task.worker_id,
        success,
        str(task.result) if success and task.result else None,
        message,
        task.execution_time or 0.0,
        task.state,
        len(task.attempts),
        task.engine,
        task.warnings,
    )
