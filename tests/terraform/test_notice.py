"""The script by which a machine on AWS tells of its end, run for real against a metadata service of our own."""

from __future__ import annotations

import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.services import not_here
from tests.terraform.program import CODE, TerraformUnavailable, render

TEMPLATE = CODE / "modules" / "aws_workers" / "templates" / "tell-notice.sh.tftpl"
TOKEN = "token-of-the-metadata-service=="
ACTION, REBALANCE = "/latest/meta-data/spot/instance-action", "/latest/meta-data/events/recommendations/rebalance"
#: In place of sleep: lets the script look once, and ends it.
SLEEP = """#!/bin/sh
rm "$ONCE" 2>/dev/null
"""


class Metadata(http.server.ThreadingHTTPServer):
    """Version 2 of the instance metadata service: nothing without a token, 404 for what is not so."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.says: dict[str, str] = {}


class _Answer(http.server.BaseHTTPRequestHandler):
    server: Metadata

    def do_PUT(self) -> None:
        known = self.path == "/latest/api/token" and "X-aws-ec2-metadata-token-ttl-seconds" in self.headers
        self._send(200 if known else 400, TOKEN if known else "")

    def do_GET(self) -> None:
        if self.headers.get("X-aws-ec2-metadata-token") != TOKEN:
            self._send(401, "")
        elif self.path in self.server.says:
            self._send(200, self.server.says[self.path])
        else:
            self._send(404, "<html>404 - Not Found</html>")

    def _send(self, code: int, text: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        """Says nothing."""


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

    def look(self) -> str:
        """Let the script look once; returns what is in the file then."""
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


def test_tells_of_its_end_once_and_says_the_worse_of_two(machine: Machine) -> None:
    assert machine.look() == ""

    machine.metadata.says[REBALANCE] = '{"noticeTime":"2026-08-01T17:50:00Z"}'
    assert (
        machine.look() == "rebalance recommendation of 2026-08-01T17:50:00Z: this spot machine is likely to be taken\n"
    )
    written = machine.notice.stat()
    machine.look()
    assert machine.notice.stat().st_ino == written.st_ino, "the same again is not written again"

    machine.metadata.says[ACTION] = '{"action": "terminate", "time": "2026-08-01T18:00:00Z"}'
    assert machine.look() == "spot interruption at 2026-08-01T18:00:00Z\n"
    assert machine.notice.stat().st_mode & 0o444 == 0o444, "the controller reads it"

    machine.metadata.says.clear()
    assert machine.look() == "spot interruption at 2026-08-01T18:00:00Z\n", "what was said is not taken back"


@pytest.mark.parametrize("answer", ['{"action": "terminate"}', '{"time": "$(touch x)"}', "<html>", "", "\n" * 1000])
def test_takes_nothing_for_a_notice_that_is_none(machine: Machine, answer: str) -> None:
    machine.metadata.says = {ACTION: answer, REBALANCE: answer}
    assert machine.look() == ""


def test_goes_on_while_the_service_gives_no_token(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Answer, "do_PUT", lambda self: self._send(503, ""))
    machine.metadata.says[ACTION] = '{"action": "terminate", "time": "2026-08-01T18:00:00Z"}'
    assert machine.look() == ""
    monkeypatch.undo()
    assert machine.look() == "spot interruption at 2026-08-01T18:00:00Z\n"
