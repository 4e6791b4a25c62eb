"""Writes what became of each task on each host, one JSON object a line, to the file that RAS_TEST_RECORDS names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: records
type: notification
short_description: Results of tasks for the tests
description: One JSON object a line.
"""


class CallbackModule(CallbackBase):
    """Appends results to a file."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "records"
    CALLBACK_NEEDS_ENABLED = True

    def _write(self, result: Any, status: str) -> None:
        said = result.result if hasattr(result, "result") else result._result
        role = result.task._role
        record = {
            "host": result.host.get_name(),
            "role": role.get_name().rpartition(".")[2] if role else "",
            "task": result.task.name,
            "action": result.task.action,
            "status": "changed" if status == "ok" and said.get("changed") else status,
            "message": str(said.get("msg", "")),
        }
        with Path(os.environ["RAS_TEST_RECORDS"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def v2_runner_on_ok(self, result: Any) -> None:
        """Ok or changed; looped includes and inner loops come here once."""
        self._write(result, "ok")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Failed, unless the role goes on and says why itself."""
        self._write(result, "ignored" if ignore_errors else "failed")

    def v2_runner_on_skipped(self, result: Any) -> None:
        """Skipped."""
        self._write(result, "skipped")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """The machine did not answer."""
        self._write(result, "unreachable")
