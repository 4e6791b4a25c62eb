"""Runs the script by which a cloud's machine tells of its end, against a metadata service of the test's own."""

from __future__ import annotations

import contextlib
import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.services import not_here
from tests.terraform.program import CODE, TerraformUnavailable, render

#: In place of sleep: lets the script look once, and ends it.
SLEEP = """#!/bin/sh
rm "$ONCE" 2>/dev/null
"""


class Metadata(http.server.ThreadingHTTPServer):
    """A metadata service.

    Attributes:
        says: what it has, by path; the handler gives it out as the cloud would.
    """

    def __init__(self, handler: type[http.server.BaseHTTPRequestHandler], says: dict[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.says = says


@dataclass
class NoticeMachine:
    """A machine with its script.

    Attributes:
        folder: of the test.
        cloud: whose machine it is.
        metadata: its metadata service.
        worker: its worker folder.
    """

    folder: Path
    cloud: str
    metadata: Metadata
    worker: Path = field(init=False)

    def __post_init__(self) -> None:
        self.worker = self.folder / "worker folder"
        self.worker.mkdir()
        (self.folder / "sleep").write_text(SLEEP, encoding="utf-8")
        (self.folder / "sleep").chmod(0o755)
        (self.folder / "empty").mkdir()
        template = CODE / "modules" / f"{self.cloud}_workers" / "templates" / "tell-notice.sh.tftpl"
        text = render(template, {"worker_folder": str(self.worker)}, self.folder / "empty")
        host, port = self.metadata.server_address[:2]
        assert text.count("http://169.254.169.254/") == 1
        (self.folder / "script").write_text(text.replace("169.254.169.254", f"{host}:{port}"), encoding="utf-8")

    @property
    def notice(self) -> Path:
        """The file that it tells by."""
        return self.worker / "notice"

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


@contextlib.contextmanager
def notice_machine(folder: Path, cloud: str, metadata: Metadata) -> Iterator[NoticeMachine]:
    """A machine, and its metadata service while the block lasts; the test is skipped where there is no Terraform."""
    thread = threading.Thread(target=metadata.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield NoticeMachine(folder, cloud, metadata)
    except TerraformUnavailable as reason:
        not_here(reason)
    finally:
        metadata.shutdown()
        thread.join()
        metadata.server_close()
