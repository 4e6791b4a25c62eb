"""The script by which a machine on Azure tells of its end, run for real against a metadata service of our own."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.services import not_here
from tests.terraform.program import CODE, TerraformUnavailable, render

TEMPLATE = CODE / "modules" / "azure_workers" / "templates" / "tell-notice.sh.tftpl"
NAME = "/metadata/instance/compute/name?api-version=2021-02-01&format=text"
EVENTS = "/metadata/scheduledevents?api-version=2020-07-01"
#: In place of sleep: lets the script look once, and ends it.
SLEEP = """#!/bin/sh
rm "$ONCE" 2>/dev/null
"""


class Metadata(http.server.ThreadingHTTPServer):
    """The instance metadata service: nothing without its header, 404 for what it does not know."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.says = {NAME: "burst_0A1b", EVENTS: events()}


class _Answer(http.server.BaseHTTPRequestHandler):
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


@dataclass
class Machine:
    """A machine with its script and its metadata service."""

    folder: Path
    metadata: Metadata
    worker: Path = field(init=False)

    def __post_init__(self) -> None:
        self.worker = self.folder / "worker folder"
        self.worker.mkdir()
        (self.folder / "sleep").write_text(SLEEP, encoding="utf-8")
        (self.folder / "sleep").chmod(0o755)
        (self.folder / "empty").mkdir()
        text = render(TEMPLATE, {"worker_folder": str(self.worker)}, self.folder / "empty")
        host, port = self.metadata.server_address[:2]
        assert text.count("http://169.254.169.254/") == 1
        (self.folder / "script").write_text(text.replace("169.254.169.254", f"{host}:{port}"), encoding="utf-8")

    def look(self, *listed: dict[str, object]) -> str:
        """Let the script look once at these events; returns what is in the file then."""
        self.metadata.says[EVENTS] = events(*listed)
        return self.look_again()

    def look_again(self) -> str:
        once = self.folder / "once"
        once.touch()
        subprocess.run(
            ["sh", self.folder / "script"],
            env={"PATH": f"{self.folder}:{os.defpath}", "ONCE": str(once), "no_proxy": "127.0.0.1"},
            timeout=60,
            check=False,
        )
        assert not once.exists()
        assert {file.name for file in self.worker.iterdir()} <= {"notice"}
        return self.notice.read_text(encoding="ascii") if self.notice.exists() else ""

    @property
    def notice(self) -> Path:
        return self.worker / "notice"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine that nobody is going to take."""
    metadata = Metadata()
    thread = threading.Thread(target=metadata.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield Machine(tmp_path, metadata)
    except TerraformUnavailable as reason:
        not_here(reason)
    finally:
        metadata.shutdown()
        thread.join()
        metadata.server_close()


def test_tells_of_its_own_end_once(machine: Machine) -> None:
    assert machine.look() == ""
    assert machine.look(event("Preempt", "burst_other"), event("Freeze"), event("Reboot")) == ""

    told = "spot interruption at Mon, 19 Sep 2026 18:29:47 GMT\n"
    assert machine.look(event("Preempt", "burst_other"), event("Preempt", "burst_other", "burst_0a1b")) == told
    assert machine.notice.stat().st_mode & 0o444 == 0o444, "the controller reads it"
    assert machine.look(event("Preempt", when="")) == told, "the time of what has begun is not told any more"
    assert machine.look() == told, "what was said is not taken back"


def test_tells_of_its_deletion(machine: Machine) -> None:
    assert machine.look(event("Terminate", when="")) == "this machine is being deleted at any moment\n"


@pytest.mark.parametrize("answer", ["<html>", "", "[]", '{"Events": [{}]}', '{"Events": "x"}'])
def test_takes_nothing_for_a_notice_that_is_none(machine: Machine, answer: str) -> None:
    machine.metadata.says[EVENTS] = answer
    assert machine.look_again() == ""


def test_a_hostile_time_is_one_plain_line(machine: Machine) -> None:
    assert machine.look(event(when="now\n$(touch x); `id`")) == "spot interruption at nowtouch x id\n"


def test_goes_on_while_the_service_does_not_answer(machine: Machine) -> None:
    name = machine.metadata.says.pop(NAME)
    assert machine.look(event()) == ""
    machine.metadata.says[NAME] = name
    assert machine.look(event()) != ""
