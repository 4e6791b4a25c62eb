"""Fixtures of the stand-in engine's tests: a short example project, and a way to run the engine on it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.standin.support import Engine, Run, shorten

from ras_runner.hecras.example import write_example_project
from ras_standin.cli import main

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def data() -> Path:
    """Real HEC-RAS files, read in place."""
    if not DATA.is_dir():
        pytest.skip(f"real HEC-RAS data is not at {DATA}")
    return DATA


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The example project, shortened; its .prj."""
    prj = write_example_project(tmp_path / "project")
    shorten(prj.parent)
    return prj


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAS_STANDIN_FAULT", raising=False)
    monkeypatch.delenv("RAS_STANDIN_PACE", raising=False)


@pytest.fixture
def engine(capsys: pytest.CaptureFixture[str]) -> Engine:
    """Run ``ras-standin`` with arguments, in this process."""

    def run(*arguments: str | Path, program: str = "ras-standin") -> Run:
        capsys.readouterr()
        code = main([program, *map(str, arguments)])
        streams = capsys.readouterr()
        return Run(code, streams.out, streams.err)

    return run
