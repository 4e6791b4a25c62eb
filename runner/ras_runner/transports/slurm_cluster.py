"""A Slurm cluster, used through its commands on a submit host: this machine, or one behind SSH."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from typing import TYPE_CHECKING

from ras_runner.errors import OperatorError, TransientError, WorkerError
from ras_runner.retrying import retrying
from ras_runner.transports import slurm_jobs as jobs
from ras_runner.transports.slurm_errors import QueueFullError, explain
from ras_runner.transports.slurm_nodes import Nodes
from ras_runner.transports.ssh_programs import BadAnswerError
from ras_runner.transports.ssh_shell import Done

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import TypeVar

    from ras_runner.transports.slurm_jobs import Facts, Job, Ref, Wanted
    from ras_runner.transports.ssh_shell import Programs

    Result = TypeVar("Result")

#: Of this machine's environment no more gets to programs, and so into jobs and Slurm's records: no secrets.
_PASSED_ON = ("HOME", "LANG", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "RAS_HECRAS_FOLDER", "SHELL", "SLURM_CONF", "USER")
#: Bounds of the time between two looks at the queue, seconds: an administrator's patience with `squeue`. While jobs
#: begin and end, it is not longer than the second.
_LOOK_FIRST, _LOOK_BUSY, _LOOK_LAST = 2.0, 5.0, 20.0
#: Seconds that a cancelled job gets to go.
_END_SECONDS = 30.0
_TRIES = 6


class ThisMachine:
    """Programs of sh on the machine that the controller runs on."""

    host = "this machine"

    def run(self, program: str, *, step: str, limit: float = 60.0) -> Done:
        """Run a program to its end.

        Raises:
            OperatorError: there is no sh.
            TransientError: time ran out.
        """
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        try:
            done = subprocess.run(
                ["/bin/sh"],
                input=program.encode("utf-8", "surrogateescape"),
                capture_output=True,
                env=environment,
                timeout=limit,
                check=False,
            )
        except FileNotFoundError as error:
            raise OperatorError(
                "this machine has no /bin/sh, and Slurm's commands are for Linux",
                step=step,
                action="give the hostname of the cluster's submit host, which is reached over SSH",
            ) from error
        except subprocess.TimeoutExpired as error:
            raise TransientError(f"no answer within {limit:.0f} s", step=step, host=self.host) from error
        return Done(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace").strip())


class Cluster:
    """Jobs of one Slurm cluster. Safe to use from several threads.

    Args:
        there: the submit host.
        wanted: what all jobs ask for.
        owner: who they belong to, ``user@host``.
        facts: what is known of the cluster.
    """

    def __init__(self, there: Programs, wanted: Wanted, owner: str, facts: Facts) -> None:
        self.there, self.wanted, self.owner, self.facts = there, wanted, owner, facts
        self.nodes = Nodes()
        self._mutex = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._asked: set[Ref] = set()
        self._due = self._last = -_LOOK_LAST
        self._pause = _LOOK_FIRST
        #: Of the submit host, at the last look; and by this machine's monotonic clock, when that was.
        self._clock = (0.0, 0.0)

    def accepts(self, cores: int, step: str) -> None:
        """Raise OperatorError when Slurm would refuse a job as we would submit it; nothing is submitted."""
        self._run(jobs.submit_program(self.wanted, cores, "test", "", 1, "#!/bin/sh\n", test=True), step)

    def submit(self, batch: str, campaign: str, cores: int, count: int, script: str) -> list[Ref]:
        """Submit an array; its jobs. One whose answer was lost is found by its batch, and not submitted twice.

        It does not go to nodes that have lost one plan after the other, unless Slurm has no others for it.

        Raises:
            QueueFullError: no more jobs may be in the queue.
            OperatorError: Slurm refuses.
            TransientError: its controller was away for too long.
        """
        comment = f"ras-runner:{self.owner}:{campaign}"
        doubtful = False

        def once() -> int:
            nonlocal doubtful
            if doubtful and (found := self.find([batch])):
                return int(next(iter(found)).split("_")[0])
            doubtful = True
            return self._sbatch(batch, comment, cores, count, script)

        job = retrying(once, TransientError, attempts=_TRIES, first=0.5, longest=15.0)
        made = [jobs.Ref(job, index, batch) for index in range(count)]
        with self._mutex:
            self._asked |= set(made)
            self._jobs |= {ref.id: jobs.Job(ref.id, "PENDING", jobs.job_name(batch), "None") for ref in made}
        self.look_soon()
        return made

    def _sbatch(self, batch: str, comment: str, cores: int, count: int, script: str) -> int:
        left_out = self.nodes.left_out(self.now())
        program = jobs.submit_program(self.wanted, cores, batch, comment, count, script, left_out=left_out)
        try:
            return self._parsed(lambda: jobs.read_submitted(self._run(program, "launch").output), "launch")
        except QueueFullError:
            raise
        except OperatorError:
            if not left_out:
                raise
        self.nodes.forget()  # without them there may be no node for it
        return self._sbatch(batch, comment, cores, count, script)

    def find(self, batches: Collection[str]) -> dict[str, Job]:
        """The jobs in the queue that belong to these batches."""
        names = {jobs.job_name(batch) for batch in batches}
        _, found = self._queue((), batches)
        return {job_id: job for job_id, job in found.items() if job.name in names}

    def look_soon(self) -> None:
        """Things happen: look at the queue soon, and again and again for a while."""
        with self._mutex:
            self._pause = _LOOK_FIRST
            self._due = min(self._due, self._last + _LOOK_FIRST)

    def look(self, refs: Collection[Ref]) -> dict[Ref, Job]:
        """What the queue, or else Slurm's records, have of jobs of ours; in one call, and not at every call.

        Raises:
            TransientError: Slurm's controller is away.
        """
        with self._mutex:
            if refs and (time.monotonic() >= self._due or not self._asked.issuperset(refs)):
                self._refresh(set(refs))
            found = {ref: self._jobs[ref.id] for ref in refs if ref.id in self._jobs}
        return {ref: job for ref, job in found.items() if job.name == jobs.job_name(ref.batch)}

    def now(self) -> float:
        """The submit host's clock."""
        told, at = self._clock
        return told + time.monotonic() - at

    def end(self, refs: Collection[Ref]) -> None:
        """Cancel those of these jobs that are ours and not over, and wait until they have ended.

        Raises:
            WorkerError: one would not end.
        """
        end = time.monotonic() + _END_SECONDS
        pause = 0.1
        while left := self._left(refs):
            if time.monotonic() > end:
                raise WorkerError(
                    f"jobs {', '.join(left)} are still there after they were cancelled",
                    step="stop",
                    host=self.there.host,
                    action="see `squeue` there; their workspaces are kept",
                )
            self._run(jobs.cancel_program(left), "stop")
            time.sleep(pause)
            pause = min(2 * pause, 2.0)

    def _left(self, refs: Collection[Ref]) -> list[str]:
        """Those that are in the queue and not over; the next look knows of the others that they are."""
        _, found = self._queue({ref.job for ref in refs})
        ours = {ref.id: job for ref in refs if (job := found.get(ref.id)) and job.name == jobs.job_name(ref.batch)}
        left = [job_id for job_id, job in ours.items() if not job.over]
        with self._mutex:
            for ref in refs:
                if ref.id in ours:
                    self._jobs[ref.id] = ours[ref.id]
                elif not self._is_over(ref.id):
                    self._jobs.pop(ref.id, None)
        return left

    def _refresh(self, refs: set[Ref]) -> None:
        now, found = self._queue({ref.job for ref in refs})
        kept = {ref.id for ref in refs}
        over = {job_id: job for job_id, job in self._jobs.items() if job.over}
        gone = {ref.job for ref in refs if ref.id not in found and ref.id not in over}
        told = self._history(gone) if gone and self.facts.accounting else {}
        known = {**told, **over, **found}
        before = self._jobs
        self._jobs = {job_id: job for job_id, job in known.items() if job_id in kept}
        changed = any(i not in before or before[i].state != job.state for i, job in self._jobs.items())
        self._asked, self._last = refs, time.monotonic()
        self._clock = (now, self._last)
        self._pause = min(self._pause * 1.5, _LOOK_BUSY if changed else _LOOK_LAST)
        self._due = self._last + self._pause

    def _history(self, arrays: Collection[int]) -> dict[str, Job]:
        program = jobs.history_program(arrays)
        return self._parsed(lambda: jobs.read_history(self._run(program, "poll").output), "poll")

    def _is_over(self, job_id: str) -> bool:
        return job_id in self._jobs and self._jobs[job_id].over

    def _queue(self, arrays: Collection[int], batches: Collection[str] = ()) -> tuple[float, dict[str, Job]]:
        program = jobs.queue_program(arrays, batches)
        return self._parsed(lambda: jobs.read_queue(self._run(program, "poll", limit=30.0).output), "poll")

    def _run(self, program: str, step: str, *, limit: float = 60.0) -> Done:
        done = self.there.run(program, step=step, limit=limit)
        if done.code:
            raise explain(done.errors, step=step, host=self.there.host)
        return done

    def _parsed(self, parse: Callable[[], Result], step: str) -> Result:
        try:
            return parse()
        except BadAnswerError as error:
            raise TransientError(str(error), step=step, host=self.there.host, action="it is tried again") from error


def cluster_facts(there: Programs, step: str) -> Facts:
    """What a submit host says of its cluster.

    Raises:
        OperatorError: it lacks Slurm's commands, or they are not let in.
        TransientError: Slurm's controller does not answer.
    """
    done = there.run(jobs.facts_program(), step=step)
    if done.code:
        raise explain(done.errors, step=step, host=there.host)
    facts = jobs.read_facts(done.output)
    if facts.missing:
        raise OperatorError(
            f"the host lacks Slurm's commands {', '.join(facts.missing)}",
            step=step,
            host=there.host,
            action="name a submit host of the cluster (hostname / ras_hostname), or install slurm-client there",
        )
    return facts
