"""The script by which a machine on Azure tells of its end, run for real against a metadata service of our own."""

from __future__ import annotations

import http.server
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.terraform.notice import Metadata, NoticeMachine, notice_machine

NAME = "/metadata/instance/compute/name?api-version=2021-02-01&format=text"
EVENTS = "/metadata/scheduledevents?api-version=2020-07-01"


class _Answer(http.server.BaseHTTPRequestHandler):
    """The instance metadata service: nothing without its header, 404 for what it does not know."""

    server: Metadata

    def do_GET(self) -> None:
        known = self.server.says.get(self.path)
        code = 400 if self.headers.get("Metadata") != "true" else 404 if known is None else 200
        self.send_response(code)
        self.send_header("Content-Length", str(len(known or "") if code == 200 else 0))
        self.end_headers()
        if code == 200:
            self.wfile.write((known or "").encode())

    def log_message(self, *args: object) -> None:
        """Says nothing."""


def event(kind: str = "Preempt", *names: str, when: str = "Mon, 19 Sep 2026 18:29:47 GMT") -> dict[str, object]:
    """As learn.microsoft.com/azure/virtual-machines/linux/scheduled-events shows one."""
    return {
        "EventId": "602d9444-d2cd-49c7-8624-8643e7171297",
        "EventType": kind,
        "ResourceType": "VirtualMachine",
        "Resources": list(names or ["burst_0a1b"]),
        "EventStatus": "Scheduled",
        "NotBefore": when,
        "Description": "",
        "EventSource": "Platform",
        "DurationInSeconds": -1,
    }


def events(*listed: dict[str, object]) -> str:
    return json.dumps({"DocumentIncarnation": len(listed), "Events": listed})


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[NoticeMachine]:
    """A machine that nobody is going to take."""
    with notice_machine(tmp_path, "azure", Metadata(_Answer, {NAME: "burst_0A1b", EVENTS: events()})) as made:
        yield made


def look(machine: NoticeMachine, *listed: dict[str, object]) -> str:
    """Let the script look once at these events; returns what is in the file then."""
    machine.metadata.says[EVENTS] = events(*listed)
    return machine.look()


def test_tells_of_its_own_end_once(machine: NoticeMachine) -> None:
    assert look(machine) == ""
    assert look(machine, event("Preempt", "burst_other"), event("Freeze"), event("Reboot")) == ""

    told = "spot interruption at Mon, 19 Sep 2026 18:29:47 GMT\n"
    assert look(machine, event("Preempt", "burst_other"), event("Preempt", "burst_other", "burst_0a1b")) == told
    assert machine.notice.stat().st_mode & 0o444 == 0o444, "the controller reads it"
    assert look(machine, event("Preempt", when="")) == told, "the time of what has begun is not told any more"
    assert look(machine) == told, "what was said is not taken back"


def test_tells_of_its_deletion(machine: NoticeMachine) -> None:
    assert look(machine, event("Terminate", when="")) == "this machine is being deleted at any moment\n"


@pytest.mark.parametrize("answer", ["<html>", "", "[]", '{"Events": [{}]}', '{"Events": "x"}'])
def test_takes_nothing_for_a_notice_that_is_none(machine: NoticeMachine, answer: str) -> None:
    machine.metadata.says[EVENTS] = answer
    assert machine.look() == ""


def test_a_hostile_time_is_one_plain_line(machine: NoticeMachine) -> None:
    assert look(machine, event(when="now\n$(touch x); `id`")) == "spot interruption at nowtouch x id\n"


def test_goes_on_while_the_service_does_not_answer(machine: NoticeMachine) -> None:
    name = machine.metadata.says.pop(NAME)
    assert look(machine, event()) == ""
    machine.metadata.says[NAME] = name
    assert look(machine, event()) != ""
