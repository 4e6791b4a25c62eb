"""``ras-runner workers add`` and ``drain``: workers of a campaign, also while it runs."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from ras_runner.campaign.membership import Answer, State, add_worker, drain_worker
from ras_runner.cli.listing import open_journal
from ras_runner.cli.options import EXIT_INPUT, EXIT_NO_WORKER, EXIT_OK
from ras_runner.cli.output import print_json, talk, talk_of_standin
from ras_runner.errors import InputError
from ras_runner.fleet.pool import NO_TYPE, worker_entries

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ras_runner.fleet.inventory import WorkerEntry

_SAID = {
    State.JOINED: "worker {0.worker} takes plans of campaign {1}",
    State.DRAINED: "worker {0.worker} takes no further plans of campaign {1}; what runs there goes on to its end",
    State.RECORDED: "worker {0.worker}: recorded; it counts from: ras-runner resume {1}",
    State.REFUSED: "worker {0.worker} was refused: {0.message}",
    State.TRYING: "worker {0.worker}: still being tried; see: ras-runner watch {1}",
}


def add(
    campaign: str,
    worker_ids: Sequence[str],
    inventory: Path | None,
    engine: str,
    state_dir: Path | None,
    *,
    as_json: bool,
) -> int:
    """``ras-runner workers add``."""
    journal = open_journal(state_dir)
    chosen = journal.campaign_id(campaign)
    source, entries = worker_entries(inventory, engine)
    chosen_entries = _chosen(entries, worker_ids, source)
    for entry in chosen_entries:
        if entry.parameters.get("engine") == "standin":
            talk_of_standin(_id(entry), source)
    asked = {_id(entry): partial(add_worker, journal, chosen, entry.type, entry.parameters) for entry in chosen_entries}
    return _answers(chosen, asked, as_json=as_json)


def drain(campaign: str, worker_ids: Sequence[str], state_dir: Path | None, *, as_json: bool) -> int:
    """``ras-runner workers drain``."""
    journal = open_journal(state_dir)
    chosen = journal.campaign_id(campaign)
    asked = {worker: partial(drain_worker, journal, chosen, worker) for worker in worker_ids}
    return _answers(chosen, asked, as_json=as_json)


def _id(entry: WorkerEntry) -> str:
    return str(entry.parameters.get("worker_id", entry.name))


def _chosen(entries: Sequence[WorkerEntry], worker_ids: Sequence[str], source: str) -> list[WorkerEntry]:
    by_id = {_id(entry): entry for entry in entries}
    if len(by_id) < len(entries):
        raise InputError(f"several workers of {source} have one worker_id", step="add worker", action="correct it")
    unknown = [name for name in worker_ids if name not in by_id]
    if unknown:
        raise InputError(
            f"{source} has no worker {', '.join(unknown)}",
            step="add worker",
            action=f"it has {', '.join(by_id)}",
        )
    chosen = [by_id[name] for name in dict.fromkeys(worker_ids)] or list(by_id.values())
    for entry in chosen:
        if not entry.type:
            talk(f"worker {_id(entry)} is left out: {NO_TYPE}")
    return [entry for entry in chosen if entry.type]


def _answers(campaign: str, asked: Mapping[str, Callable[[], Answer]], *, as_json: bool) -> int:
    """Ask for one after the other; a wrong one does not keep the others. The exit code is that of the worst."""
    answers, codes = [], [EXIT_OK if asked else EXIT_INPUT]
    for worker, ask in asked.items():
        try:
            answer = ask()
        except InputError as error:
            answer = Answer(worker, State.REFUSED, str(error), error.kind)
        answers.append(answer)
        talk(_SAID[answer.state].format(answer, campaign))
        codes.append(_code(answer))
    if as_json:
        print_json([asdict(answer) for answer in answers])
    return max(codes)


def _code(answer: Answer) -> int:
    if answer.state in (State.REFUSED, State.TRYING):
        return EXIT_INPUT if answer.kind in ("input", "operator") else EXIT_NO_WORKER
    return EXIT_OK
