"""The projects of a campaign: one, or several whose plans are told apart by the project's name."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ras_runner.errors import InputError
from ras_runner.hecras.project import Project, projects_below

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


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
