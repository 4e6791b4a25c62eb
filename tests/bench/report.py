"""The figures of ``overhead.py`` as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from page import table, targets
from rows import Row
from setting import PEER, PEER_VERSION

OURS = "ras-runner"
CPU_TARGET = 0.1
#: Bytes a plan and peak memory may differ this much between two runs that should be alike.
_ALIKE = 1.1


@dataclass(frozen=True, slots=True)
class Figures:
    """All that was measured.

    Attributes:
        rows: a case each.
        method: how the self-check went.
        engine_alone: CPU seconds a plan of the engine.
        help_times: median wall and CPU seconds of ``ras-runner --help``.
        peer_missing: why there is no peer; empty when there is one.
    """

    rows: Sequence[Row]
    method: str
    engine_alone: float
    help_times: tuple[float, float]
    peer_missing: str

    def find(self, tool: str, slots: int, plans: int, *, large: bool = False, rerun: bool = False) -> Row | None:
        """The row of a case, if it was measured."""
        wanted = (tool, slots, plans, large, rerun)
        for row in self.rows:
            case = row.case
            if (case.tool, case.slots, case.plans, bool(case.result_size), row.rerun) == wanted:
                return row
        return None

    def ours(self, slots: int, plans: int, **kind: bool) -> Row:
        """A row of ours, which is always there."""
        row = self.find(OURS, slots, plans, **kind)
        if row is None:
            raise LookupError(f"{OURS} was not measured with {slots} slots and {plans} plans")
        return row


def document(figures: Figures) -> str:
    """Its part of docs/benchmarks.md."""
    peer = f"{PEER} was not measured: {figures.peer_missing}" if figures.peer_missing else ""
    judged = "### Targets\n\n" + targets(_judged(figures))
    parts = [_HEAD, peer, judged, _overhead(figures), _large(figures), _rerun(figures), _slopes(figures)]
    parts.append(_HOW.format(method=figures.method, engine=1000 * figures.engine_alone))
    return "\n\n".join(filter(None, parts))


_HEAD = f"""## The runner itself, beside {PEER} {PEER_VERSION}

A local worker; the engine takes no time, so that all the time is the runner's."""

_HOW = """### How it is measured

- Project: Muncie (HEC's 2D example, 4 MB) with 99 plans, p01 to p99, each a copy of p04; a fresh copy for every case.
- Engine: `tests/bench/engine.c`, called as `Ras.exe -c PROJECT PLAN`; it copies a finished results file (9 KB, or 5 MB
  that do not compress). Alone, started by a shell, it takes {engine:.1f} ms CPU a plan; that is in all figures.
- CPU: user and system time of the process and of all its descendants, also of those that it detached: the bench is
  their subreaper, waits for every one with `wait4`, and adds up. Self-check of this run:
  {method}.
- Staged: bytes below the worker folder that were written before the engine starts (it looks), and the store of inputs;
  hard-linked files count once; a plan that never got to the engine counts nowhere. Results are not staged bytes. For
  reruns, the growth of the worker folder, workspaces kept.
- Start-up (imports, reading the project) is in every figure of CPU a plan; the marginal cost is without it.
- The peer runs its local worker, with shapely and psutil installed, which that worker needs. With one slot it computes
  10 plans only, to keep the bench short. A plan that it loses is shown with the reason in its log; races between
  plans that end and plans that are being staged are likelier with an engine that takes no time than with a real one."""


def _judged(figures: Figures) -> list[tuple[str, str, bool]]:
    one, four, few = figures.ours(1, 99), figures.ours(4, 99), figures.ours(4, 10)
    large, again = figures.ours(4, 60, large=True), figures.ours(4, 99, rerun=True)
    dearest = max(one.cpu, four.cpu)
    grows = large.staged_a_plan / four.staged_a_plan
    memory = four.peak_memory / few.peak_memory
    return [
        (
            "99 of 99 plans at 1 and at 4 slots",
            f"{one.succeeded} and {four.succeeded}",
            one.succeeded == four.succeeded == 99,
        ),
        (
            f"below {CPU_TARGET} CPU s a plan (99 plans)",
            f"{dearest:.3f} with start-up, {_slope(few, four):.3f} for one plan more",
            dearest < CPU_TARGET,
        ),
        (
            "CPU a plan does not rise from 10 to 99 plans",
            f"{few.cpu:.3f} to {four.cpu:.3f} (4 slots), {figures.ours(1, 10).cpu:.3f} to {one.cpu:.3f} (1 slot)",
            four.cpu <= few.cpu and one.cpu <= figures.ours(1, 10).cpu,
        ),
        (
            "bytes a plan do not depend on finished plans' results",
            f"{_mb(four.staged_a_plan)} with 9 KB results, {_mb(large.staged_a_plan)} with 5 MB",
            grows < _ALIKE,
        ),
        (
            "an unchanged rerun stages 0 bytes",
            f"{again.staged} bytes, {again.engine_runs} engine runs",
            again.staged == again.engine_runs == again.travelled == 0 and again.succeeded == 99,
        ),
        (
            "memory of the controller is flat",
            f"{_mb(few.peak_memory, 0)} at 10 plans, {_mb(four.peak_memory, 0)} at 99",
            memory < _ALIKE,
        ),
    ]


def _mb(size: float, digits: int = 1) -> str:
    return f"{size / 1e6:.{digits}f} MB"


def _line(figures: Figures, row: Row) -> list[str]:
    case = row.case
    other = figures.find(OURS, case.slots, case.plans, large=bool(case.result_size), rerun=row.rerun)
    wall = "-" if other is None else f"{row.cost.wall / other.cost.wall:.1f}"
    return [
        case.tool,
        str(case.slots),
        f"{row.succeeded} / {case.plans}",
        f"{row.cpu:.3f}",
        _mb(row.staged_a_plan),
        "-" if row.travelled is None else f"{row.travelled / case.plans / 1e3:.0f} KB",
        _mb(row.peak_memory, 0),
        wall,
    ]


_COLUMNS = (
    "tool",
    "slots",
    "succeeded",
    "CPU s a plan",
    "staged a plan",
    "of it travelled",
    "peak memory",
    "wall (ours = 1)",
)


def _section(figures: Figures, title: str, note: str, wanted: Callable[[Row], bool]) -> str:
    lines = [_line(figures, row) for row in figures.rows if wanted(row)]
    lost = [
        f"- {row.case.tool}, {row.case.slots} slots: {row.case.plans - row.succeeded} of {row.case.plans} plans lost; "
        f"the first: `{row.error[:300]}`"
        for row in figures.rows
        if wanted(row) and row.succeeded < row.case.plans
    ]
    return "\n\n".join([f"### {title}", note, table(_COLUMNS, lines), *(["\n".join(lost)] if lost else [])])


def _overhead(figures: Figures) -> str:
    note = (
        "Staged: written below the worker folder. Travelled: what had to be sent to the worker (ours, from the\n"
        "journal); the rest is copied there, from the worker's own store. CPU includes start-up."
    )
    return _section(figures, "Overhead of a plan", note, lambda row: not row.rerun and not row.case.result_size)


def _large(figures: Figures) -> str:
    note = "60 plans, 4 slots. What is staged for a plan should not grow with the results of the plans before it."
    return _section(figures, "Results of 5 MB", note, lambda row: bool(row.case.result_size))


def _rerun(figures: Figures) -> str:
    note = "The same call once more, nothing changed: there is nothing to compute."
    return _section(figures, "Unchanged rerun", note, lambda row: row.rerun)


def _slope(few: Row, many: Row) -> float:
    """CPU seconds that one plan more costs."""
    return (many.cost.cpu - few.cost.cpu) / (many.case.plans - few.case.plans)


def _slopes(figures: Figures) -> str:
    pairs = [(OURS, 1, 10, 20), (OURS, 1, 20, 99), (OURS, 4, 10, 99), (PEER, 4, 10, 99)]
    lines = []
    for tool, slots, few, many in pairs:
        first, last = figures.find(tool, slots, few), figures.find(tool, slots, many)
        if first is not None and last is not None:
            lines.append([tool, str(slots), f"{few} to {many}", f"{_slope(first, last):.3f}"])
    wall, cpu = figures.help_times
    return (
        "### Marginal cost and start-up\n\n"
        + table(("tool", "slots", "plans", "CPU s for one plan more"), lines)
        + f"\n\n`ras-runner --help`: {wall:.2f} s, {cpu:.2f} CPU s (medians of 10)."
    )
