"""Jobs of a Slurm cluster, on files of a shared file system that another transport reaches.

An attempt is an element of a job array. Its native id is ``job_index:batch``; which batch and index it has lies in its
folder before the array is submitted, so that any controller finds its job again.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from ras_runner.errors import RasRunnerError
from ras_runner.outcomes import Outcome
from ras_runner.transports import slurm_jobs as jobs
from ras_runner.transports.base import Collected, Found, Probe, Status, Upload
from ras_runner.transports.on_files import OnFiles
from ras_runner.transports.slurm_batch import Batches, Kind
from ras_runner.transports.slurm_errors import QueueFullError
from ras_runner.transports.slurm_states import Phase, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path, PurePath

    from ras_runner.transports.base import Transport
    from ras_runner.transports.slurm_cluster import Cluster
    from ras_runner.transports.slurm_jobs import Job, Ref

#: In an attempt's folder: its batch and its index in it.
BATCH_FILE = "batch"
#: What the array script writes as soon as it sees an attempt's folder.
LAUNCH_LOG = "launch.log"
#: What a job has written may be seen elsewhere only so many seconds later: NFS keeps what it knows of a folder.
_SETTLE_SECONDS = 60.0
#: What the array script's own exit codes mean.
_EXITS = {
    jobs.NOT_SHARED: "the node does not see the worker folder, which the submit host and all nodes have to share",
    jobs.NO_CONTAINERS: "the node has neither apptainer nor singularity to open the image with",
}
#: Seconds between two tries while the queue is full.
_FULL_SECONDS = 15.0
#: Exit code of what SIGKILL has ended.
_KILLED = 137


class SlurmTransport(OnFiles):
    """Runs attempts as jobs.

    Args:
        files: how the shared file system is reached.
        cluster: runs the jobs.
    """

    def __init__(self, files: Transport, cluster: Cluster) -> None:
        super().__init__(files)
        self.cluster = cluster
        self._batches = Batches(self._submit, cluster.facts.most)
        self._mutex = threading.Lock()
        self._refs: dict[str, Ref] = {}
        #: Attempts whose jobs may not be over.
        self._active: set[str] = set()
        #: Attempt -> when its job was first seen to be over without exit.json, by a monotonic clock.
        self._over_since: dict[str, float] = {}
        #: Attempts that the queue has no room for yet, and what it said; when they are tried again.
        self._held: dict[str, tuple[Kind, str]] = {}
        self._try_held = 0.0
        #: A job of ours has written what was seen here.
        self._shared = False

    @property
    def host(self) -> str:
        """The cluster's name."""
        return f"Slurm cluster {self.cluster.facts.cluster}"

    def collect(self, probe: Probe, folder: PurePath, patterns: Sequence[str], scratch: Path) -> Collected:
        """What the attempt has written."""
        return self.files.collect(probe, folder, patterns, scratch)

    def attempts(self) -> list[Found]:
        """The folders of attempts; which of them have a job is found by looking at them."""
        return self.files.attempts()

    def claim(self, folder: PurePath) -> bool:
        """Take an attempt's claim, so that its run script can never start; its job has no use then."""
        taken = self.files.claim(folder)
        if taken:
            with contextlib.suppress(RasRunnerError):  # it would find the claim, and end at once
                self._end(folder.name)
        return taken

    def remove(self, path: PurePath) -> None:
        """Remove a file or a tree below the worker folder; if it is an attempt's folder, its job is ended first."""
        if path.parent == self.root / "w":
            self._end(path.name)
            with self._mutex:
                self._refs.pop(path.name, None)
        self.files.remove(path)

    def launch(self, attempt: str, folder: PurePath, script: str, *, cores: int = 1, campaign: str = "") -> str:
        """Submit the run script as an element of an array, together with what else is launched at about this time.

        Returns:
            The native id; nothing when the queue has no room: then it is submitted by a later look, when it has some.

        Raises:
            OperatorError: Slurm refuses; or no more jobs may be in its queue, and none of ours is there to end.
            TransientError: its controller is away.
        """
        if folder.parent != self.root / "w" or folder.name != attempt:
            raise ValueError(f"{folder} is not the folder of attempt {attempt}")
        kind = Kind(cores, campaign, script)
        try:
            return str(self._batches.launch(kind, attempt))
        except QueueFullError as error:
            with self._mutex:
                if not (self._active or self._held):
                    raise
                self._held[attempt] = (kind, error.cause)
                self._try_held = time.monotonic() + _FULL_SECONDS
            return ""

    def _submit_held(self) -> None:
        """Try again what the queue had no room for."""
        with self._mutex:
            if not self._held or time.monotonic() < self._try_held:
                return
            held = dict(self._held)
            self._try_held = time.monotonic() + _FULL_SECONDS
        for kind in {kind for kind, _ in held.values()}:
            made = self._batches.submit(kind, [attempt for attempt, one in held.items() if one[0] == kind])
            with self._mutex:
                for attempt, result in made.items():
                    if isinstance(result, jobs.Ref):
                        self._held.pop(attempt, None)
                    elif attempt in self._held:
                        cause = result.cause if isinstance(result, RasRunnerError) else str(result)
                        self._held[attempt] = (kind, cause)

    def _submit(self, batch: str, kind: Kind, attempts: Sequence[str]) -> list[Ref]:
        folder = self.root / "w"
        self.files.put(
            [Upload(f"{batch} {index}\n".encode(), folder / name / BATCH_FILE) for index, name in enumerate(attempts)]
        )
        script = jobs.array_script(folder, attempts, kind.script, self.cluster.wanted.image)
        made = self.cluster.submit(batch, kind.campaign, kind.cores, len(attempts), script)
        with self._mutex:
            self._refs |= dict(zip(attempts, made, strict=True))
            self._active.update(attempts)
        return made

    def poll(self, probes: Sequence[Probe]) -> dict[str, Status]:
        """Look at many attempts: at the queue now and then, in one call for all; at their files each time."""
        with self._mutex:
            held = set(self._held)
        refs = self._find({probe.attempt: probe.native_id for probe in probes if probe.attempt not in held})
        with self._mutex:
            wanted = [ref for attempt, ref in refs.items() if attempt in self._active]
        told = self.cluster.look(wanted)
        # after the look at the queue: exit.json is the last act of a job
        files = self.files.poll([replace(probe, native_id="", files_only=True) for probe in probes])
        found = {}
        for probe in probes:
            ref = refs.get(probe.attempt)
            found[probe.attempt] = self._status(
                probe.attempt, ref, told.get(ref) if ref else None, files[probe.attempt]
            )
        with self._mutex:
            self._active.difference_update(attempt for attempt, status in found.items() if not status.alive)
        self._submit_held()
        return found

    def stop(self, probe: Probe) -> None:
        """Cancel the attempt's job, that is kill every process in it."""
        self._end(probe.attempt, probe.native_id)

    def _end(self, attempt: str, native_id: str = "") -> None:
        with self._mutex:
            if self._held.pop(attempt, None):
                return
        ref = self._find({attempt: native_id}).get(attempt)
        with self._mutex:
            may_run = attempt in self._active
        if ref and may_run:
            self.cluster.end([ref])
            with self._mutex:
                self._active.discard(attempt)

    def _find(self, native_ids: Mapping[str, str]) -> dict[str, Ref]:
        """Which job each attempt has: as was told, or else as lies in its folder."""
        with self._mutex:
            known = {attempt: self._refs[attempt] for attempt in native_ids if attempt in self._refs}
        told = {a: ref for a, text in native_ids.items() if a not in known and (ref := jobs.read_ref(text))}
        found = self._by_batch([attempt for attempt in native_ids if attempt not in known and attempt not in told])
        with self._mutex:
            self._refs |= told | found
            self._active |= told.keys() | found.keys()
        return known | told | found

    def _by_batch(self, attempts: Iterable[str]) -> dict[str, Ref]:
        places: dict[str, tuple[str, str]] = {}
        for attempt in attempts:
            words = (self.files.read(self.root / "w" / attempt / BATCH_FILE) or b"").decode("ascii", "replace").split()
            if len(words) == 2 and words[1].isdigit() and words[0].isalnum():
                places[attempt] = (words[0], words[1])
        if not places:
            return {}
        ids = {
            job.name: job_id.split("_")[0] for job_id, job in self.cluster.find({b for b, _ in places.values()}).items()
        }
        return {
            attempt: jobs.Ref(int(ids[jobs.job_name(batch)]), int(index), batch)
            for attempt, (batch, index) in places.items()
            if jobs.job_name(batch) in ids
        }

    def _status(self, attempt: str, ref: Ref | None, job: Job | None, files: Status) -> Status:
        if files.exit_code is not None:
            self._shared = True
            if job is not None:
                self.cluster.nodes.did_well(job.nodes)
            self._over_since.pop(attempt, None)
            if files.exit_code == _KILLED and job is not None and job.state == "RUNNING":
                self.cluster.look_soon()  # Slurm is about to say whether it ran out of memory
                return replace(files, alive=True)
            return replace(files, alive=False, note=_killed_note(job, files.exit_code))
        if held := self._held.get(attempt):  # by jobs of others: they may stay for ever
            return replace(files, alive=True, waiting=held[1], needs_person=not self._active)
        if ref is None or job is None:
            return replace(files, alive=False, note=self._unknown(ref), outcome=Outcome.INFRASTRUCTURE_LOST)
        return self._over(attempt, job, files) if job.over else self._in_queue(job, files)

    def _in_queue(self, job: Job, files: Status) -> Status:
        if job.meaning.phase is Phase.RUNNING:
            ran = 0.0 if job.started is None else max(0.0, self.cluster.now() - job.started)
            return replace(files, alive=True, ran=ran)
        reason = reason_of(job.reason)
        says = f"job {job.id}: {reason.says.replace('JOB', job.id)}"
        return replace(files, alive=True, waiting=says, needs_person=reason.needs_person)

    def _over(self, attempt: str, job: Job, files: Status) -> Status:
        """A job is over, and there is no exit.json."""
        outcome, needs_person = job.meaning.outcome, False
        says = f"job {job.id}{f' on {job.nodes}' if job.nodes else ''}"
        code, signal = job.code >> 8, job.code & 0x7F
        if outcome is not None:
            says += f": {job.meaning.says}"
        elif reason_of(job.reason).needs_person:
            says, needs_person = f"{says}: {reason_of(job.reason).says}", True
        elif signal:
            says += f": its script was killed by signal {signal} (out of memory, or from outside)"
        elif code in _EXITS:  # on every node, as far as is known, or on this one
            says, needs_person = f"{says}: {_EXITS[code]} ({self.root})", not self._shared
        else:
            now = time.monotonic()
            if now - self._over_since.setdefault(attempt, now) < _SETTLE_SECONDS:
                return replace(files, alive=True)
            says += f": it ended with exit code {code}, and {self._why_no_exit(attempt)}"
            needs_person = not self._shared
        ended_as = outcome or Outcome.INFRASTRUCTURE_LOST
        if ended_as is Outcome.INFRASTRUCTURE_LOST and job.nodes and not needs_person:
            now = self.cluster.now()
            if self.cluster.nodes.lost(job.nodes, job.started, now):
                says += f"; {job.nodes} has lost plans again and again, and gets none for an hour"
        return replace(files, alive=False, note=says, outcome=ended_as, needs_person=needs_person)

    def _why_no_exit(self, attempt: str) -> str:
        if self.files.read(self.root / "w" / attempt / LAUNCH_LOG) is not None:
            return f"could not write that to {self.root}: see that its disk has room, and that no quota is reached"
        return (
            f"nothing that it wrote is to be seen in {self.root} {_SETTLE_SECONDS:.0f} s later: "
            "see that all nodes share it, and can write there"
        )

    def _unknown(self, ref: Ref | None) -> str:
        if ref is None:
            return "Slurm has no job of it: the controller that was to submit it has ended"
        records = "nor have its records" if self.cluster.facts.accounting else "and this cluster keeps none (slurmdbd)"
        return f"Slurm's queue has its job {ref.id} no more, {records}"


def _killed_note(job: Job | None, exit_code: int) -> str:
    """What Slurm adds to an exit code: which of the run's processes it has killed, and why."""
    if exit_code == _KILLED and job is not None and job.state == "OUT_OF_MEMORY":
        return job.meaning.says
    return ""
