"""Campaigns that cannot be run here, on a virtual clock: writes docs/simulation.md. ``make simulate``; a few minutes.

The scheduler is the one that campaigns run on (see ``world.py``). Each campaign is a process of its own, so that its
memory is its own. ``--quick`` simulates small ones only, and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.simulate.world import Chooser, FirstCome, RoundRobin, Scenario, play  # noqa: E402

from ras_runner.campaign.scheduler import Scheduler  # noqa: E402

CHOOSERS: dict[str, Callable[[], Chooser]] = {
    "ras-runner": Scheduler,
    "first come, first served": FirstCome,
    "round robin": RoundRobin,
}
OURS = "ras-runner"
LARGE = Scenario(1_000_000, 10_000)
FAULTS = {"loss": 0.05, "preemption": 0.1}


@dataclass(frozen=True, slots=True)
class Case:
    """A campaign, and who gives out its plans."""

    chooser: str
    scenario: Scenario


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of a case: makespan over the bound, counts, CPU seconds in all and in the scheduler, memory."""

    ratio: float
    completed: int
    starts: int
    second: int
    preempted: int
    lost: int
    cpu: float
    deciding: float
    megabytes: float

    @property
    def rate(self) -> float:
        """Attempts that are decided on in a CPU second of the scheduler."""
        return self.starts / self.deciding


def simulate(case: Case) -> Figures:
    """Play a case in this process."""
    told, ratio = play(case.scenario, CHOOSERS[case.chooser])
    counts = {key: value for key, value in asdict(told).items() if key != "makespan"}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    return Figures(ratio, **counts, cpu=time.process_time(), megabytes=peak)


@cache
def apart(case: Case) -> Figures:
    """Play a case in a process of its own; each once."""
    given = json.dumps({"chooser": case.chooser, "scenario": asdict(case.scenario)})
    scenario, began = case.scenario, time.monotonic()
    faults = ", with faults" if scenario.loss else ""
    head = f"{case.chooser}: {scenario.plans:,} plans on {scenario.workers:,} workers{faults}"
    print(f"{head} ...", file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, __file__, "--case", given], check=True, capture_output=True, text=True)
    figures = Figures(**json.loads(done.stdout))
    print(
        f"  {figures.ratio:.4f} of the bound, {figures.rate:,.0f} decisions a CPU s, {figures.cpu:.0f} CPU s, "
        f"{figures.megabytes:,.0f} MB; {time.monotonic() - began:.0f} s",
        file=sys.stderr,
        flush=True,
    )
    return figures


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def scaling(largest: int) -> tuple[str, list[Figures]]:
    """Plans and workers grow together."""
    sizes = [plans for plans in (10**3, 10**4, 10**5, 10**6) if plans <= largest]
    found = [apart(Case(OURS, replace(LARGE, plans=plans, workers=plans // 100))) for plans in sizes]
    rows = [
        [
            f"{plans:,}",
            f"{plans // 100:,}",
            f"{f.ratio:.4f}",
            f"{f.rate:,.0f}",
            f"{f.cpu:.1f} s",
            f"{f.megabytes:,.0f} MB",
        ]
        for plans, f in zip(sizes, found, strict=True)
    ]
    head = ["plans", "workers", "makespan / bound", "decisions a CPU s", "CPU, with the world", "memory"]
    return table(head, rows), found


def comparison(scenario: Scenario) -> tuple[str, dict[tuple[str, bool], Figures]]:
    """Every chooser, without faults and with them."""
    found = {
        (chooser, faults): apart(Case(chooser, replace(scenario, **FAULTS) if faults else scenario))
        for faults in (False, True)
        for chooser in CHOOSERS
    }
    rows = [
        [
            chooser,
            "5 % lost, 10 % preempted" if faults else "none",
            f"{f.ratio:.3f}",
            f"{f.completed:,}",
            f"{f.starts:,}",
            f"{f.second:,}",
            f"{f.cpu:.0f} s",
            f"{f.megabytes:,.0f} MB",
        ]
        for (chooser, faults), f in found.items()
    ]
    head = ["who", "faults", "makespan / bound", "completed", "attempts", "second runs", "CPU", "memory"]
    return table(head, rows), found


def kinds() -> str:
    """Campaigns of other kinds, 10,000 plans on 100 workers."""
    base = replace(LARGE, plans=10_000, workers=100)
    cases = {
        "as above": base,
        "times vary little (sigma 0.3)": replace(base, sigma=0.3),
        "a few very long plans (sigma 1.2)": replace(base, sigma=1.2),
        "times are expected badly (error 0.5)": replace(base, error=0.5),
        "few plans: 5 for each worker": replace(base, plans=500),
    }
    rows = []
    for name, scenario in cases.items():
        found = [apart(Case(chooser, scenario)).ratio for chooser in CHOOSERS]
        rows.append([name, *(f"{ratio:.3f}" for ratio in found)])
    return table(["campaign", *CHOOSERS], rows)


def targets(scale: list[Figures], compared: dict[tuple[str, bool], Figures]) -> str:
    """What was aimed at, and what came out."""
    plain, faulty = compared[OURS, False], compared[OURS, True]
    rates = [figures.rate for figures in scale]
    checks = [
        ("10^6 plans, 10^4 workers, faults: below 120 CPU s", f"{faulty.cpu:.0f} s", faulty.cpu < 120),
        ("... and 3 GB", f"{faulty.megabytes:,.0f} MB", faulty.megabytes < 3072),
        ("makespan at most 1.05 times the bound without faults", f"{plain.ratio:.3f}", plain.ratio <= 1.05),
        ("at most 1.25 times with them", f"{faulty.ratio:.3f}", faulty.ratio <= 1.25),
        (
            "decisions a second flat from 10^3 to 10^6 plans (the lowest at least half of the highest)",
            f"{min(rates):,.0f} to {max(rates):,.0f}",
            2 * min(rates) >= max(rates),
        ),
    ]
    return table(
        ["target", "found", ""], [[what, found, "met" if met else "**MISSED**"] for what, found, met in checks]
    )


def machine() -> str:
    """Date, processor, load."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    name = names[0].partition(":")[2].strip() if names else platform.processor()
    load = os.getloadavg()[0]
    return (
        f"{time.strftime('%Y-%m-%d')}, {name}, {os.cpu_count()} cores, Python {platform.python_version()}; "
        f"load of the last minute {load:.1f} at the end (CPU seconds are given, which grow with it too)"
    )


def document() -> str:
    """The page."""
    scale, figures = scaling(10**6)
    compared, found = comparison(LARGE)
    return f"""# Simulation

What cannot be run here: the scheduler that campaigns run on (`ras_runner/campaign/scheduler.py`), on a virtual clock.
Made by `make simulate` (`tests/simulate/run.py`).

- {machine()}
- Run times are lognormal (median 1 h, sigma {LARGE.sigma}); what a plan takes is off what was expected by
  {LARGE.error:.0%} (sigma). Workers have one slot and a speed of 0.5, 0.7, 1, 1.4 or 2, which the scheduler is not
  told. Every plan has one of {LARGE.geometries:,} geometries.
- Faults: 5 % of the workers are lost for good at any time of the campaign; 70 % are spot machines, where attempts are
  preempted at any moment, 10 % of all. Both begin again from nothing.
- The bound is max(total work / total speed, longest plan on the fastest worker). Nothing can be shorter; with faults
  the lost work and the lost workers are still not in it.
- A decision is an attempt that is placed: its start, its end, and what is learned from it. No machine, staging, or
  journal is in these figures; [benchmarks.md](benchmarks.md) has those.

## Targets

{targets(figures, found)}

## More plans, more workers

{scale}

## Beside simple ways

{compared}

First come, first served gives each free worker the next plan of the list. Round robin deals the plans out beforehand.

## Other campaigns

Makespan over the bound; 10,000 plans on 100 workers where nothing else is said; no faults.

{kinds()}
"""


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small campaigns only; writes nothing")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        case = json.loads(given.case)
        print(json.dumps(asdict(simulate(Case(case["chooser"], Scenario(**case["scenario"]))))))
    elif given.quick:
        print(comparison(replace(LARGE, plans=10_000, workers=100))[0])
    else:
        began = time.monotonic()
        page = document()
        print(f"{time.monotonic() - began:.0f} s in all", file=sys.stderr)
        (ROOT / "docs" / "simulation.md").write_text(page, encoding="utf-8")
        print(page)


if __name__ == "__main__":
    main()
