"""Claims on this machine when its disk fails."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from ras_runner.errors import DiskFullError
from ras_runner.transports.local import LocalTransport


def test_a_claim_that_a_full_disk_refuses_is_an_error_for_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(self: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    folder = tmp_path / "w" / "a1"
    folder.mkdir(parents=True)
    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(DiskFullError, match="the disk of the worker folder"):
        LocalTransport(tmp_path).claim(folder)
