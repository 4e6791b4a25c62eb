"""A case that is measured, and what came out."""

from __future__ import annotations

from dataclasses import dataclass

from measure import Cost


@dataclass(frozen=True, slots=True)
class Case:
    """A tool, and what it has to compute.

    Attributes:
        tool: ``ras-runner`` or ``ras-commander``.
        slots: plans that it may run at once.
        plans: how many.
        result_size: bytes of each result, about; 0 for the smallest that is taken for one.
        rerun: measured a second time with nothing changed.
    """

    tool: str
    slots: int
    plans: int
    result_size: int = 0
    rerun: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    rerun: bool
    succeeded: int
    error: str
    engine_runs: int
    staged: int
    travelled: int | None
    peak_memory: int


@dataclass(frozen=True, slots=True)
class Row(_Counts):
    """What a case cost.

    Attributes:
        case: which.
        cost: CPU and wall time.
        rerun: the second time, with nothing changed.
        succeeded: plans that the tool calls successful.
        error: the first that it writes, if not all succeeded.
        engine_runs: how often the engine was started.
        staged: bytes written below the worker folder before the engine started, its store included.
        travelled: of them, those that had to travel to the worker, by our journal; None for the peer.
        peak_memory: of the tool's process, bytes.
    """

    case: Case
    cost: Cost

    @property
    def cpu(self) -> float:
        """CPU seconds a plan, start-up included."""
        return self.cost.cpu / self.case.plans

    @property
    def staged_a_plan(self) -> float:
        """Bytes a plan: of those that got as far as the engine, which looks; of a rerun, of all."""
        return self.staged / (self.case.plans if self.rerun else max(self.engine_runs, 1))

    def summary(self) -> str:
        """One line."""
        case = self.case
        what = "unchanged rerun" if self.rerun else f"{case.result_size / 1e6:.0f} MB results"
        return (
            f"{case.tool}: {case.slots} slots, {what}: {self.succeeded} / {case.plans} succeeded, "
            f"{self.engine_runs} engine runs, {self.cpu:.3f} CPU s a plan, {self.staged} bytes staged, "
            f"{self.cost.wall:.1f} s, peak {self.peak_memory / 1e6:.0f} MB"
        )
