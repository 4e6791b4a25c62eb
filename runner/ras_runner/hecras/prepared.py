"""What Windows HEC-RAS prepares for the solvers on Linux: which files, and whether a project has them already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ras_runner.hecras.plan import FlowType

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from ras_runner.hecras.inputs import PlanInputs
    from ras_runner.hecras.plan import Plan

#: File systems and archives keep times no finer than this, seconds.
_GRAIN = 2.0
#: Kinds of inputs whose change leaves the prepared files as they are, or that are prepared files.
_NOT_PREPARED_FROM = ("project", "rasmap", "preprocessed")
_RESULTS = "Results"


@dataclass(frozen=True, slots=True)
class PreparedFiles:
    """Files that a solver can start from.

    Attributes:
        files: extension, as of :func:`prepared_extensions` -> file. The first may be a finished ``.pNN.hdf``:
            a solver gets :func:`without_results` of it.
        maker: the program that made them.
    """

    files: dict[str, Path]
    maker: str


def prepared_extensions(plan: Plan) -> tuple[str, ...]:
    """What the solvers on Linux need of a plan and cannot make: ``p04.tmp.hdf``, ``b04``, ``x02`` (steady: ``r04``)."""
    temporary = f"p{plan.number}.tmp.hdf"
    if plan.flow_type is FlowType.STEADY:
        return (temporary, f"r{plan.number}")
    return (temporary, f"b{plan.number}", f"x{plan.geometry[1:]}")


def own_prepared(inputs: PlanInputs) -> PreparedFiles | str:
    """The prepared files that lie in the project folder, where they are those of the plan as it is now.

    The ``.tmp.hdf`` may also be a finished ``.pNN.hdf``, which holds the same and the results. It has to be at least as
    new as all that it was made from; ``.bNN`` and ``.rNN`` as the plan and its flow file, ``.xNN`` as the geometry.

    Args:
        inputs: the closure of files of the plan.

    Returns:
        The files, or one sentence that names what is missing or too old.
    """
    plan = inputs.plan
    temporary, *others = prepared_extensions(plan)
    found: dict[str, Path] = {}
    candidates = [path for name in (temporary, f"p{plan.number}.hdf") if (path := plan.project.file(name)) is not None]
    source = next((path for path in candidates if not _problem(path, inputs)), None)
    problems = []
    if source is not None:
        found[temporary] = source
    else:
        nothing = f"{plan.project.name}.{temporary} and a finished {plan.project.name}.p{plan.number}.hdf are missing"
        problems = [_problem(path, inputs) for path in candidates] or [nothing]
    for extension in others:
        path = plan.project.file(extension)
        if path is None or not path.stat().st_size:
            problems.append(f"{plan.project.name}.{extension} is {'missing' if path is None else 'empty'}")
        elif older := _older(path, inputs, ("geometry",) if extension[0] == "x" else ("plan", "flow")):
            problems.append(f"{path.name} is older than {older}")
        else:
            found[extension] = path
    return "; ".join(problems) if source is None or problems else PreparedFiles(found, hdf_maker(source))


def _problem(temporary: Path, inputs: PlanInputs) -> str:
    """Why a .tmp.hdf or a finished .hdf of the project cannot be used; empty when it can."""
    older = _older(temporary, inputs, {item.kind for item in inputs.files}.difference(_NOT_PREPARED_FROM))
    return f"{temporary.name} is older than {older}" if older else hdf_problem(temporary)


def _older(path: Path, inputs: PlanInputs, kinds: Collection[str]) -> str:
    """The first input of these kinds that is newer; empty when there is none."""
    made = path.stat().st_mtime + _GRAIN
    return next(
        (item.path.name for item in inputs.files if item.kind in kinds and item.path.stat().st_mtime > made), ""
    )


def hdf_problem(path: Path) -> str:
    """Why a ``.tmp.hdf``, or a finished ``.hdf``, is nothing that a solver can start from; empty when it is.

    It is when HEC-RAS has written it whole: ``Event Conditions``, its last part, says ``Completed Successfully``.
    """
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as hdf:
            missing = [name for name in ("Plan Data", "Geometry", "Event Conditions") if name not in hdf]
            if missing:
                return f"{path.name} has no {', '.join(missing)}"
            said = _text(hdf["Event Conditions"].attrs.get("Completed Successfully"))
    except (OSError, RuntimeError, KeyError) as error:
        return f"{path.name} cannot be read: {' '.join(str(error).split())}"
    if said.casefold() != "true":
        return f"{path.name} was not prepared to its end (Completed Successfully = {said or 'nothing'})"
    return ""


def hdf_maker(path: Path) -> str:
    """The program that wrote an HDF: its root attribute ``File Version``."""
    import h5py

    with h5py.File(path, "r", locking=False) as hdf:
        return _text(hdf.attrs.get("File Version")) or "an unknown program"


def has_results(path: Path) -> bool:
    """Whether an HDF holds results, be it of a finished run or of one that was stopped."""
    import h5py

    with h5py.File(path, "r", locking=False) as hdf:
        return _RESULTS in hdf


def without_results(source: Path, target: Path) -> None:
    """Write a copy of an HDF with everything but its group ``Results``: the ``.tmp.hdf`` of a finished ``.pNN.hdf``.

    Raises:
        OSError, RuntimeError: it cannot be read or written.
    """
    import h5py

    with h5py.File(source, "r", locking=False) as old, h5py.File(target, "w") as new:
        for name, value in old.attrs.items():
            new.attrs[name] = value
        for name in old:
            if name != _RESULTS:
                old.copy(name, new)


def _text(value: object) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
    return text.strip("\0 ")
