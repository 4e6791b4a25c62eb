"""The projects of a campaign, one or several whose plans are told apart by the project's name, and plans of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ras_runner.campaign.campaigns import PlanNumbers, select_plans
from ras_runner.errors import InputError
from ras_runner.hecras.project import Project, projects_below

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ras_runner.hecras.plan import Plan

#: Plans of each project, or plans by project: its name, or the path of its ``.prj`` or folder.
PlanChoice: TypeAlias = PlanNumbers | Mapping[str | Path, PlanNumbers]
_CHOOSE = "choose plans"
#: Projects that an error lists at most.
_NAMED = 20


def open_projects(paths: Sequence[Path]) -> tuple[Project, ...]:
    """Open the projects of a campaign. Where there are several, each is labelled with its name.

    Args:
        paths: projects by folder or ``.prj``; a folder without a project stands for all projects below it. One that is
            named twice counts once.

    Raises:
        InputError: one cannot be opened, or two have one name.
    """
    found: dict[Path, Project] = {}
    for path in paths:
        for prj in _meant(path):
            project = Project.open(prj)
            found.setdefault(project.prj.resolve(), project)
    projects = tuple(found.values())
    if len(projects) == 1:
        return projects
    _check_names(projects)
    return tuple(dataclasses.replace(project, label=project.name) for project in projects)


def _meant(path: Path) -> list[Path]:
    """The projects below a folder that holds none itself; else the path as it is, for `Project.open` to judge."""
    below = projects_below(path) if path.is_dir() else []
    return [path] if not below or any(prj.parent == path for prj in below) else below


def _check_names(projects: Iterable[Project]) -> None:
    """Names are compared as Windows compares them: results of both would be told apart by nothing."""
    first: dict[str, Project] = {}
    for project in projects:
        other = first.setdefault(project.name.casefold(), project)
        if other is not project:
            raise InputError(
                f"two projects of one campaign are called {project.name}: {other.prj} and {project.prj}",
                step="open projects",
                action="run them in campaigns of their own, or save one of them under another name",
            )


def choose_plans(projects: Sequence[Project], chosen: PlanChoice) -> list[Plan]:
    """The plans of a campaign, in the order of its projects.

    Args:
        projects: from `open_projects`.
        chosen: plans of each project, or of some by project; those that are not named have no part in the campaign.

    Raises:
        InputError: nothing was chosen, or a plan or project that there is not.
    """
    if not isinstance(chosen, Mapping):
        return [plan for project in projects for plan in _of_each(projects, project, chosen)]
    by_project: dict[Path, PlanNumbers] = {}
    for key, numbers in chosen.items():
        project = _named(key, projects)
        if project.prj in by_project:
            raise InputError(f"{key} is named twice", step=_CHOOSE, action="name each project once, with all its plans")
        by_project[project.prj] = numbers
    if not by_project:
        raise InputError("no project was chosen", step=_CHOOSE, action=_there_are(projects))
    wanted = [project for project in projects if project.prj in by_project]
    return [plan for project in wanted for plan in select_plans(project, by_project[project.prj])]


def _of_each(projects: Sequence[Project], project: Project, numbers: PlanNumbers) -> list[Plan]:
    """Plans of one of the projects; where there are several, an error says that the numbers are meant of each."""
    try:
        return select_plans(project, numbers)
    except InputError as error:
        if len(projects) == 1:
            raise
        action = f"{error.action}; numbers are of each of the {len(projects)} projects, all is what each has"
        raise InputError(error.cause, step=error.step, action=action) from None


def _named(key: str | Path, projects: Sequence[Project]) -> Project:
    """The project of this name, or with this ``.prj`` or folder; text may be either, and is a name first."""
    found: list[Project] = []
    if isinstance(key, str):
        found = [project for project in projects if project.name.casefold() == key.casefold()]
    if not found:
        where = Path(key).resolve()
        found = [project for project in projects if where in (project.prj.resolve(), project.folder.resolve())]
    if len(found) != 1:
        cause = f"{key} is {'several' if found else 'none'} of the projects of this campaign"
        raise InputError(cause, step=_CHOOSE, action=_there_are(projects))
    return found[0]


def _there_are(projects: Sequence[Project]) -> str:
    first = ", ".join(project.name for project in projects[:_NAMED])
    return f"choose from {first}" + (f" and {len(projects) - _NAMED} more" if len(projects) > _NAMED else "")
