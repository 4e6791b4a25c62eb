"""One attempt: stage, launch, and when it has ended verify and publish. Done in the controller's threads."""

from __future__ import annotations

import contextlib
import glob
import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING

from ras_runner.campaign.prepared import NotPreparedError, engine_label, with_prepared
from ras_runner.campaign.publish import publish
from ras_runner.campaign.receipts import inputs_digest
from ras_runner.campaign.staging import TREE, inside_tree, project_folder
from ras_runner.engines.base import EngineRun, RunSettings, Stage, System, progress_files, result_name, side_results
from ras_runner.engines.common import outside_files, staged_name
from ras_runner.engines.scripts import render_script, script_name
from ras_runner.errors import InputError, OperatorError, RasRunnerError
from ras_runner.hashing import hash_file
from ras_runner.hecras.inputs import check_inputs
from ras_runner.hecras.project import Project
from ras_runner.outcomes import Outcome
from ras_runner.transports.base import Probe, Upload
from ras_runner.transports.windows_names import check_windows_paths

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ras_runner.campaign.journal import Journal
    from ras_runner.campaign.prepared import PreparedStore
    from ras_runner.campaign.staging import Stager
    from ras_runner.campaign.stuck import Activity
    from ras_runner.engines.base import StagedFile
    from ras_runner.hecras.inputs import PlanInputs
    from ras_runner.hecras.plan import Plan
    from ras_runner.hecras.results import ResultSummary
    from ras_runner.workers.base import Worker

_STREAM_TAIL = 65536
_STAGE_TRIES = 3
#: More of a stream than this is not kept.
_LOG_BYTES = 1 << 26
#: A file system's time stamps may be this much coarser than the clock, seconds.
_CLOCK_GRAIN = 2.0


@dataclass
class Attempt:
    """One try of a plan on a worker.

    Attributes:
        id: unique; the name of its folder, carried by all its processes.
        plan: the plan as it was when it was staged, or attached to.
        worker: where it runs.
        slot: which of the worker's slots it holds.
        settings: cores and the like.
        folder: its folder on the worker.
        tree: the staged project folder, relative to ``folder``.
        inputs: digest of everything the staged plan is made of.
        prepared_by: the program whose files its second stage starts from; empty when it does no second stage.
        native_id: of the run script; empty until it was launched.
        launched: unix time of the launch; where it waited in a queue after that, of the end of the wait.
        staged: bytes that travelled to the worker for it.
        seconds: how long it ran, by the worker's clock; None until it has ended.
        stopping: why it is being stopped; empty while it is not.
        stop_outcome: what it ends as then, when it has no result.
        progress: fraction of the simulated time that is done; None while unknown.
        note: how it ended, where its files cannot tell.
        waiting: why its script has not begun; empty once it has.
        hopeless: since when it waits for what only a person can change, by a monotonic clock; None while it does not.
        ended_as: what it ended as by the word of what ran it; None where there is none.
        needs_person: it ended because of what only a person can change on its worker.
        activity: when it was last seen to compute; None while that is not watched.
    """

    id: str
    plan: Plan
    worker: Worker
    slot: int
    settings: RunSettings
    folder: PurePath
    tree: PurePosixPath = field(default_factory=lambda: PurePosixPath(TREE))
    inputs: str = ""
    prepared_by: str = ""
    native_id: str = ""
    launched: float = 0.0
    staged: int = 0
    seconds: float | None = None
    stopping: str = ""
    stop_outcome: Outcome = Outcome.CANCELLED
    progress: float | None = None
    note: str = ""
    waiting: str = ""
    hopeless: float | None = None
    ended_as: Outcome | None = None
    needs_person: bool = False
    activity: Activity | None = None

    @property
    def plan_number(self) -> str:
        """What the campaign calls its plan: see `Plan.name`."""
        return self.plan.name

    @property
    def stage(self) -> Stage:
        """What it does of its plan."""
        return self.settings.stage

    @property
    def engine_label(self) -> str:
        """What makes its result."""
        return engine_label(self.worker.engine.name, self.prepared_by)

    @property
    def staged_name(self) -> str:
        """Name the project is staged under."""
        return staged_name(self.plan.project.name, self.worker.engine.system)

    @property
    def staged_folder(self) -> PurePath:
        """The staged project folder on the worker."""
        return self.folder / self.tree

    def probe(self) -> Probe:
        """What the transport needs to look at it."""
        names = progress_files(self.plan, self.staged_name)
        commands = self.worker.engine.commands(self.plan, self.settings, self.staged_name)
        files = (*(self.staged_folder / name for name in names), self.folder / "stdout.log")
        return Probe(
            self.id,
            self.folder,
            self.native_id,
            files,
            whole_tree=commands.whole_tree,
            cpu=commands.shows_windows,
        )


def new_attempt(attempt_id: str, plan: Plan, worker: Worker, slot: int, settings: RunSettings) -> Attempt:
    """An attempt that has not begun."""
    return Attempt(attempt_id, plan, worker, slot, settings, worker.attempt_folder(attempt_id))


def begin(
    attempt: Attempt, stager: Stager, journal: Journal, campaign: str, scratch: Path, prepared: PreparedStore
) -> bool:
    """Stage the workspace and launch the run script, journalled before and after.

    Returns:
        False when it was stopped before it was launched.

    Raises:
        NotPreparedError: a second stage has nothing to start from.
        RasRunnerError: staging or launching failed; nothing runs.
    """
    engine, transport = attempt.worker.engine, attempt.worker.transport
    _stage(attempt, stager, scratch / attempt.id, prepared)
    script = _script(attempt)
    transport.put([Upload(script, attempt.folder / script_name(engine.system))])
    if attempt.stopping:
        return False
    attempt.launched = time.time()
    journal.record(
        campaign,
        "attempt-launching",
        at=attempt.launched,
        attempt=attempt.id,
        staged=attempt.staged,
        tree=str(attempt.tree),
        inputs=attempt.inputs,
        prepared_by=attempt.prepared_by,
    )
    try:
        attempt.native_id = transport.launch(
            attempt.id, attempt.folder, script_name(engine.system), cores=attempt.settings.cores, campaign=campaign
        )
    except RasRunnerError:
        if transport.claim(attempt.folder):
            raise  # it has not started, and with its claim taken it never will
        attempt.native_id = ""  # started all the same: its answer was lost
    journal.record(campaign, "attempt-launched", attempt=attempt.id, native_id=attempt.native_id)
    return True


def _script(attempt: Attempt) -> bytes:
    engine = attempt.worker.engine
    commands = engine.commands(attempt.plan, attempt.settings, attempt.staged_name)
    try:
        return render_script(
            engine.system,
            commands,
            attempt_folder=attempt.folder,
            folder=type(attempt.folder)(attempt.tree),
            priority=attempt.settings.priority,
        )
    except ValueError as error:
        raise OperatorError(
            f"the run script cannot be written: {error}",
            step="launch",
            host=attempt.worker.hostname,
            action="give the engine and the worker folder paths of plain ASCII characters",
        ) from error


def _check_outside(attempt: Attempt, inputs: PlanInputs) -> None:
    """Files named by an absolute path are read where they lie: not from another machine or a container."""
    outside = [] if attempt.worker.transport.sees_our_files else outside_files(inputs)
    if outside:
        named = "; ".join(f"{item.path} ({item.referred_by})" for item in outside)
        raise InputError(
            f"worker {attempt.worker.worker_id} cannot read files that plan {attempt.plan_number} names by an "
            f"absolute path: {named}",
            step="stage",
            action="put them into the project folder, or beside it, and choose them there in HEC-RAS",
        )


def _check_names(attempt: Attempt, files: Sequence[StagedFile]) -> None:
    """Names that the worker's system cannot have are the user's to mend, and found before anything travels."""
    if attempt.worker.engine.system is not System.WINDOWS:
        return
    places = [inside_tree(attempt.tree, file.place) for file in files]
    temporary = attempt.tree / f"{attempt.staged_name}.p{attempt.plan.number}.tmp.hdf"  # the engine's own, the longest
    paths = [attempt.folder / place for place in (*places, temporary)]
    check_windows_paths(paths, attempt.worker.transport.root, attempt.worker.hostname)


def _stage(attempt: Attempt, stager: Stager, scratch: Path, prepared: PreparedStore) -> None:
    """Read the plan anew (the user may have edited it since the campaign began), and stage exactly what is recorded."""
    engine = attempt.worker.engine
    for _ in range(_STAGE_TRIES):
        attempt.worker.transport.remove(attempt.folder)  # what an earlier try has staged
        project = attempt.plan.project
        attempt.plan = Project.open(project.prj, project.label).plan(attempt.plan.number)
        inputs = engine.inputs(attempt.plan, attempt.worker.stage)
        check_inputs(inputs)
        _check_outside(attempt, inputs)
        attempt.inputs = inputs_digest(inputs, stager.hasher)
        attempt.tree = project_folder([item.place for item in inputs.files if item.place is not None])
        with _scratch(scratch) as own:
            complete = _complete(attempt, inputs, prepared, own) if attempt.stage is Stage.SOLVE else inputs
            files = engine.prepare(complete, attempt.settings, attempt.staged_name, own)
            _check_names(attempt, files)
            attempt.staged += stager.stage(files, attempt.folder, attempt.tree, lambda: bool(attempt.stopping))
        if inputs_digest(inputs, stager.hasher) == attempt.inputs:
            return
    raise InputError(
        f"the files of plan {attempt.plan_number} keep changing while they are being staged",
        step="stage",
        action="close the program that writes them, then run the plan again",
    )


def _complete(attempt: Attempt, inputs: PlanInputs, prepared: PreparedStore, scratch: Path) -> PlanInputs:
    """The inputs of a second stage with what the first has made of them."""
    found = prepared.find(attempt.worker, inputs, attempt.inputs)
    if isinstance(found, str):
        raise NotPreparedError(
            f"plan {attempt.plan_number} is no longer prepared as its files are now: {found}",
            step="stage",
            action="none: it is prepared again where a worker of the campaign can",
        )
    attempt.prepared_by = found.maker
    return with_prepared(inputs, found, scratch)


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Verified:
    """What an attempt that has ended left behind.

    Attributes:
        summary: outcome, reason, warnings.
        files: what is to be published, source -> name in the project folder, the results HDF last; empty on failure.
        digest: BLAKE3 of the results HDF; empty on failure.
    """

    summary: ResultSummary
    files: dict[Path, str]
    digest: str = ""


def verify(attempt: Attempt, exit_code: int | None, scratch: Path, streams: Mapping[str, bytes]) -> Verified:
    """Read the outcome from the workspace of an attempt that has ended.

    Args:
        attempt: the attempt.
        exit_code: from its exit.json.
        scratch: a folder on this machine for results of remote workers.
        streams: the ends of those that have been read already, by name.
    """
    transport, plan, name = attempt.worker.transport, attempt.plan, attempt.staged_name
    sides, result = side_results(plan, name), result_name(plan, name)
    patterns = (*sides, glob.escape(result))
    collected = transport.collect(attempt.probe(), attempt.staged_folder, patterns, scratch)
    folder = collected.folder
    said = []
    for stream in ("stdout.log", "stderr.log"):
        data = streams[stream] if stream in streams else transport.read(attempt.folder / stream, last=_STREAM_TAIL)
        said.append((data or b"").decode("utf-8", "replace"))
    run = EngineRun(name, exit_code, attempt.launched - _CLOCK_GRAIN, *said)
    summary = attempt.worker.engine.outcome(folder, plan, run)
    if not summary.outcome.success:
        return Verified(summary, {})
    files = {folder / written: _published_name(written, name, plan.project.name) for written in collected.names}
    if folder / result not in files:
        reason = f"{result} was not written by this run"
        return Verified(replace(summary, outcome=Outcome.INCOMPLETE, reason=reason), {})
    return Verified(summary, files, hash_file(folder / result))


def publish_attempt(attempt: Attempt, verified: Verified, *, keep: bool) -> None:
    """Publish a verified result into the user's project folder; with ``keep`` the workspace's file stays its own.

    Raises:
        OperatorError: it cannot be written there now; the workspace keeps it.
    """
    publish(verified.files, attempt.plan.project.folder, attempt.id, link=not keep)


def _published_name(name: str, staged: str, project: str) -> str:
    return project + name[len(staged) :] if name.startswith(staged) else name


def keep_log(attempt: Attempt, log: Path) -> dict[str, bytes]:
    """Keep the ends of an attempt's streams where ``ras-runner logs`` finds them after the workspace is gone.

    Returns:
        The last of each stream by name, for :func:`verify`: it is fetched once.
    """
    parts, streams = [], {}
    for stream in ("stdout.log", "stderr.log", "launch.log"):
        data = attempt.worker.transport.read(attempt.folder / stream, last=_LOG_BYTES)
        streams[stream] = (data or b"")[-_STREAM_TAIL:]
        if data:
            parts.append(b"" if stream == "stdout.log" else f"--- {stream}\n".encode())
            parts.append(data)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"".join(parts))
    return streams
