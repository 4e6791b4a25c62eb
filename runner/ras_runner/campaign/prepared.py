"""Plans in two stages: what one worker prepares for another, and where it is kept between the two.

The first stage's files are kept beside the journal, never in the user's project folder, under the digest of the inputs
that they were made from: they serve any further attempt, and never one of other inputs.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import shutil
import uuid
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ras_runner.campaign.receipts import inputs_digest
from ras_runner.engines.base import progress_files
from ras_runner.errors import InputError, OperatorError, RasRunnerError
from ras_runner.hashing import copy_hashed, hash_bytes, hash_file
from ras_runner.hecras.inputs import Access, InputFile
from ras_runner.hecras.messages import parse_messages
from ras_runner.hecras.prepared import (
    PreparedFiles,
    has_results,
    hdf_problem,
    own_prepared,
    prepared_extensions,
    without_results,
)
from ras_runner.outcomes import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from ras_runner.campaign.attempt import Attempt
    from ras_runner.hashing import FileHasher
    from ras_runner.hecras.inputs import PlanInputs
    from ras_runner.hecras.plan import Plan
    from ras_runner.workers.base import PlanRunner

#: Why a first stage is stopped that does not end by itself.
PREPARED = "prepared"
_PREPARED_BY = ", prepared by "
#: Outcomes of plans that ``resume`` runs again without preparing them again.
RESUMED_AS_PREPARED = (Outcome.INFRASTRUCTURE_LOST, Outcome.PREEMPTED)
#: The end of a progress file in which the start of the solver is looked for, bytes.
_TAIL = 1 << 20
#: More of a prepared file that the first stage has left as it was staged is not read.
_LARGEST = 1 << 30


class NotPreparedError(RasRunnerError):
    """A plan that was prepared is so no more: its inputs have changed, or the prepared files have gone."""


def engine_label(engine: str, prepared_by: str) -> str:
    """What made a result: the engine and, where another program has done the first stage, that."""
    return f"{engine}{_PREPARED_BY}{prepared_by}" if prepared_by else engine


def may_have_made(worker: PlanRunner, label: str) -> bool:
    """Whether a worker makes results with this :func:`engine_label`; what has prepared them is of its own release."""
    name = worker.engine.name
    return label.startswith(f"{name}{_PREPARED_BY}") if worker.needs_prepared else label == name


@dataclass(frozen=True)
class PreparedStore:
    """The prepared plans of one campaign.

    Args:
        folder: ``<state folder>/prepared/<campaign>``; a folder a plan, in it one a digest.
        hasher: verifies them.
        anew: prepared files of the project folder are not used.
    """

    folder: Path
    hasher: FileHasher
    anew: bool = False

    def find(self, worker: PlanRunner, inputs: PlanInputs, digest: str) -> PreparedFiles | str:
        """What a worker that only solves can start from.

        Args:
            worker: the worker.
            inputs: the plan's inputs.
            digest: of these.

        Returns:
            The files, of the project folder or of a first stage; else one sentence on what the project folder lacks.
        """
        own = own_files(worker, inputs, anew=self.anew)
        if isinstance(own, PreparedFiles):
            return own
        kept = self._folder(inputs.plan.name, digest, worker.needs_prepared)
        try:
            manifest = json.loads((kept / "manifest.json").read_text(encoding="utf-8"))
            if all(self.hasher.digest(kept / name) == expected for name, expected in manifest["files"].items()):
                return PreparedFiles({name: kept / name for name in manifest["files"]}, manifest["maker"])
        except (OSError, ValueError, KeyError, InputError):  # not there, or torn: it is prepared again
            return own
        return own

    def find_for(self, worker: PlanRunner, inputs: PlanInputs) -> PreparedFiles | str:
        """:meth:`find` for the plan's inputs as they are now."""
        return self.find(worker, inputs, inputs_digest(inputs, self.hasher))

    def keep(self, plan: str, digest: str, kind: str, prepared: PreparedFiles) -> None:
        """Keep the files of a first stage, whole or not at all.

        Raises:
            OperatorError: they cannot be written.
        """
        target = self._folder(plan, digest, kind)
        part = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            part.mkdir(parents=True)
            digests = {name: copy_hashed(path, part / name) for name, path in prepared.files.items()}
            differ = [name for name, expected in digests.items() if hash_file(part / name) != expected]
            if differ:
                raise OSError(errno.EIO, f"the copy of {differ[0]} differs from its original")  # noqa: TRY301
            manifest = json.dumps({"maker": prepared.maker, "files": digests})
            (part / "manifest.json").write_text(manifest, encoding="utf-8")
            shutil.rmtree(target, ignore_errors=True)
            part.rename(target)
        except OSError as error:
            shutil.rmtree(part, ignore_errors=True)
            raise OperatorError(
                f"the prepared files of plan {plan} cannot be kept in {self.folder}: {error.strerror or error}",
                step="collect",
                action="free disk space there or give the rights back, then: ras-runner resume",
            ) from error

    def forget(self, plan: str) -> None:
        """Remove what is kept of a plan."""
        shutil.rmtree(self.folder / plan, ignore_errors=True)

    def sweep(self, plans: Collection[str]) -> None:
        """Remove all but what is whole and of these plans. Only while nothing is being kept."""
        for folder in self.folder.glob("*"):
            if folder.name not in plans:
                self.forget(folder.name)
            for part in folder.glob("*.part"):
                shutil.rmtree(part, ignore_errors=True)
        with contextlib.suppress(OSError):  # not empty, or not there
            self.folder.rmdir()

    def _folder(self, plan: str, digest: str, kind: str) -> Path:
        return self.folder / plan / hash_bytes(f"{digest}\0{kind}".encode())[:32]


def own_files(worker: PlanRunner, inputs: PlanInputs, *, anew: bool = False) -> PreparedFiles | str:
    """The prepared files of the project folder, where this worker's engine can start from them; else why not.

    Args:
        worker: it only solves.
        inputs: the plan's inputs.
        anew: what lies there is not to be used.
    """
    if anew:
        return "what lies in the project folder is to be made anew (clear_geompre)"
    own = own_prepared(inputs)
    if isinstance(own, PreparedFiles) and not worker.engine.accepts(own.maker):
        name = next(iter(own.files.values())).name
        return f"{name} was made by {own.maker}, and {worker.engine.name} starts from files of {worker.needs_prepared}"
    return own


@dataclass(frozen=True, slots=True)
class Readiness:
    """How far a plan is prepared for the workers that only solve.

    Attributes:
        kinds: what it is prepared for, as the workers' ``needs_prepared``.
        problem: why it can never run: what it lacks, and who could make it. Empty when it can.
    """

    kinds: frozenset[str] = frozenset()
    problem: str = ""


def readiness(
    plan: Plan, workers: Sequence[PlanRunner], find: Callable[[PlanRunner, PlanInputs], PreparedFiles | str]
) -> Readiness:
    """Look how far a plan is prepared.

    Args:
        plan: the plan.
        workers: those that could run it.
        find: what a worker that only solves can start from, or why from nothing.

    Raises:
        InputError: a file of the plan cannot be read.
    """
    solvers = [worker for worker in workers if worker.needs_prepared]
    found = {w.worker_id: find(w, w.engine.inputs(plan, w.stage)) for w in solvers}
    kinds = frozenset(w.needs_prepared for w in solvers if isinstance(found[w.worker_id], PreparedFiles))
    if kinds or len(solvers) < len(workers):
        return Readiness(kinds)
    needs = " or ".join(sorted({worker.needs_prepared for worker in solvers}))
    error = InputError(
        f"plan {plan.name} is not prepared for {', '.join(found)}, and no worker of the campaign can do that: "
        + "; ".join(dict.fromkeys(map(str, found.values()))),
        step="check plan",
        action=f"add a worker of {needs} without preprocess_on_host; or prepare the plan on Windows (start it in "
        "HEC-RAS until the solver runs) and leave the files in the project folder; or leave preprocess_on_host out, to "
        "use the files of the project folder as they are",
    )
    return Readiness(problem=str(error))


def with_prepared(inputs: PlanInputs, prepared: PreparedFiles, scratch: Path) -> PlanInputs:
    """Put prepared files in the place of the project's own; of a finished result all but the results.

    Raises:
        InputError: the HDF cannot be read.
    """
    plan = inputs.plan
    files = []
    for extension, path in prepared.files.items():
        source = _stripped(path, scratch) if extension.endswith(".hdf") else path
        place = PurePosixPath(f"{plan.project.name}.{extension}")
        files.append(InputFile(source, place, Access.PRIVATE, plan.path.name, "prepared"))
    taken = {str(item.place).casefold() for item in files}
    others = (item for item in inputs.files if str(item.place).casefold() not in taken)
    return replace(inputs, files=(*others, *files))


def _stripped(hdf: Path, scratch: Path) -> Path:
    try:
        if not has_results(hdf):
            return hdf
        folder = scratch / "without results"
        folder.mkdir(parents=True, exist_ok=True)
        without_results(hdf, folder / hdf.name)
        return folder / hdf.name
    except (OSError, RuntimeError, KeyError) as error:
        raise InputError(
            f"{hdf.name} cannot be read as a prepared plan ({' '.join(str(error).split())})",
            step="prepare",
            action="prepare the plan again",
        ) from error


def solver_tails(attempt: Attempt) -> Sequence[str]:
    """The ends of an attempt's progress files, long enough to hold the line that the solver starts with."""
    files = (attempt.staged_folder / name for name in progress_files(attempt.plan, attempt.staged_name))
    found = (attempt.worker.transport.read(path, last=_TAIL) for path in files)
    return [data.decode("latin-1") for data in found if data]


def is_prepared(attempt: Attempt) -> bool:
    """Whether a first stage that does not end by itself has left all that it is to leave."""
    if not attempt.worker.engine.solver_started(solver_tails(attempt)):
        return False
    paths = [attempt.staged_folder / name for name in _staged_names(attempt).values()]
    sizes = attempt.worker.transport.stored(paths)
    return all(sizes.get(path) for path in paths)


def first_stage(attempt: Attempt, exit_code: int | None, scratch: Path) -> PreparedFiles | str:
    """What a first stage that has ended leaves for the second.

    Args:
        attempt: the attempt.
        exit_code: from its exit.json; None when it was stopped, or killed.
        scratch: a folder on this machine.

    Returns:
        The files, fetched and checked; else why there are none, which may be empty.
    """
    tails = solver_tails(attempt)
    problem = ""
    if exit_code == 0 or attempt.worker.engine.solver_started(tails):
        found = _fetched(attempt, scratch)
        checked = found if isinstance(found, str) else _checked(found, attempt.worker.engine.name, scratch)
        if isinstance(checked, PreparedFiles):
            return checked
        problem = checked
    return "; ".join(part for part in (problem, *parse_messages("\n".join(tails)).errors[:1]) if part)


def _fetched(attempt: Attempt, scratch: Path) -> dict[str, Path] | str:
    """Extension -> file on this machine; or which file has not been written."""
    transport, names = attempt.worker.transport, _staged_names(attempt)
    fetched, kept = scratch / "fetched", scratch / "kept"
    for folder in (fetched, kept):
        folder.mkdir(parents=True, exist_ok=True)
    patterns = [glob.escape(name) for name in names.values()]
    collected = transport.collect(attempt.probe(), attempt.staged_folder, patterns, fetched)
    files: dict[str, Path] = {}
    for extension, name in names.items():
        path = collected.folder / name
        if name not in collected.names and not extension.endswith(".hdf"):
            # what the engine found good as it was staged, it does not write again
            path = kept / name
            path.write_bytes(transport.read(attempt.staged_folder / name, last=_LARGEST) or b"")
        if not path.is_file() or not path.stat().st_size:
            return f"{name} was not written"
        files[extension] = path
    return files


def _checked(files: Mapping[str, Path], maker: str, scratch: Path) -> PreparedFiles | str:
    """With an HDF that is whole and holds no results: the solver may have begun to write some."""
    temporary = next(name for name in files if name.endswith(".hdf"))
    if problem := hdf_problem(files[temporary]):
        return problem
    try:
        return PreparedFiles({**files, temporary: _stripped(files[temporary], scratch)}, maker)
    except InputError as error:
        return error.cause


def _staged_names(attempt: Attempt) -> dict[str, str]:
    """Extension -> name of a prepared file in the staged project folder."""
    return {extension: f"{attempt.staged_name}.{extension}" for extension in prepared_extensions(attempt.plan)}
