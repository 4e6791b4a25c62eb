"""The script by which a machine on AWS tells of its end, run for real against a metadata service of our own."""

from __future__ import annotations

import http.server
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.terraform.notice import Metadata, NoticeMachine, notice_machine

TOKEN = "token-of-the-metadata-service=="
ACTION, REBALANCE = "/latest/meta-data/spot/instance-action", "/latest/meta-data/events/recommendations/rebalance"


class _Answer(http.server.BaseHTTPRequestHandler):
    """Version 2 of the instance metadata service: nothing without a token, 404 for what is not so."""

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


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[NoticeMachine]:
    """A machine that nobody is going to take."""
    with notice_machine(tmp_path, "aws", Metadata(_Answer, {})) as made:
        yield made


def test_tells_of_its_end_once_and_says_the_worse_of_two(machine: NoticeMachine) -> None:
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
def test_takes_nothing_for_a_notice_that_is_none(machine: NoticeMachine, answer: str) -> None:
    machine.metadata.says = {ACTION: answer, REBALANCE: answer}
    assert machine.look() == ""


def test_goes_on_while_the_service_gives_no_token(machine: NoticeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Answer, "do_PUT", lambda self: self._send(503, ""))
    machine.metadata.says[ACTION] = '{"action": "terminate", "time": "2026-08-01T18:00:00Z"}'
    assert machine.look() == ""
    monkeypatch.undo()
    assert machine.look() == "spot interruption at 2026-08-01T18:00:00Z\n"
