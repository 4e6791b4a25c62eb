"""The outcomes of an attempt or a task: the words of the journal, the report and the CLI."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """How an attempt, and so its task, ended."""

    COMPLETED = "completed"
    COMPLETED_WITH_WARNINGS = "completed-with-warnings"
    UNSTABLE = "unstable"
    INCOMPLETE = "incomplete"
    ENGINE_ERROR = "engine-error"
    TIMED_OUT = "timed-out"
    INFRASTRUCTURE_LOST = "infrastructure-lost"
    PREEMPTED = "preempted"
    CANCELLED = "cancelled"

    @property
    def success(self) -> bool:
        """True when the result can be used: complete, with or without warnings."""
        return self in (Outcome.COMPLETED, Outcome.COMPLETED_WITH_WARNINGS)

    @property
    def model_failure(self) -> bool:
        """True when the plan itself failed, so that another machine would fail as well."""
        return self in (Outcome.UNSTABLE, Outcome.INCOMPLETE, Outcome.ENGINE_ERROR, Outcome.TIMED_OUT)
