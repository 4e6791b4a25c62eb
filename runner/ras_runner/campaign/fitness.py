"""Which plans of a running campaign a worker that joins can take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ras_runner.campaign.campaigns import unable_workers
from ras_runner.campaign.prepared import readiness
from ras_runner.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ras_runner.campaign.prepared import PreparedStore
    from ras_runner.hecras.plan import Plan
    from ras_runner.workers.base import PlanRunner


@dataclass(frozen=True, slots=True)
class Fitness:
    """The plans of a campaign, as workers see them.

    Attributes:
        plans: that are not over, by number.
        store: keeps what first stages leave.
    """

    plans: Mapping[str, Plan]
    store: PreparedStore

    def of(self, worker: PlanRunner) -> tuple[frozenset[str], frozenset[str]]:
        """The plans that its engine cannot run, and those that lie prepared for one that only solves.

        Raises:
            InputError: it can run none of them.
        """
        unable = self._unable(worker)
        return unable, self._prepared(worker, unable)

    def _unable(self, worker: PlanRunner) -> frozenset[str]:
        unable = set()
        for number, plan in self.plans.items():
            try:
                unable_workers(plan, [worker])
            except InputError:
                unable.add(number)
                if len(unable) == len(self.plans):
                    raise
        return frozenset(unable)

    def _prepared(self, worker: PlanRunner, unable: frozenset[str]) -> frozenset[str]:
        if not worker.needs_prepared:
            return frozenset()
        able = {number: plan for number, plan in self.plans.items() if number not in unable}
        return frozenset(n for n, plan in able.items() if readiness(plan, [worker], self.store.find_for).kinds)
