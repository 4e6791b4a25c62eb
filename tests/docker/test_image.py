"""``ras-runner image build``: the stand-in engine, and an archive laid out as HEC's."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from tests.docker.conftest import DockerRunner
from tests.docker.daemon import BASE, STANDIN, Daemon

import ras_standin
from ras_runner.errors import InputError
from ras_runner.fleet.image import hecras_members, render_dockerfile, unpack_hecras
from ras_runner.hecras.project import Project
from ras_runner.hecras.results import read_result

#: Scripts in the place of HEC's programs: they pass their arguments to the stand-in engine of the base image.
PROGRAM = '#!/bin/sh\necho "$LD_LIBRARY_PATH"\nPYTHONPATH=/opt/ras-standin exec python3 -m ras_standin {name} "$@"\n'


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Like HEC's archive for Linux: programs and libraries in one folder, and things that are not wanted."""
    made = tmp_path / "HEC-RAS_660_Linux.zip"
    with zipfile.ZipFile(made, "w") as out:
        for name in ("RasUnsteady", "RasGeomPreprocess", "RasSteady"):
            out.writestr(f"Ras_v66/bin/{name}", PROGRAM.format(name=name))
        out.writestr("Ras_v66/libs/mkl/libmkl_core.so.2", "x")
        out.writestr("Ras_v66/libs/libiomp5.so", "x")
        out.writestr("Ras_v66/examples/Muncie/Muncie.prj", "x" * 1000)
        out.writestr("../outside", "x")
    return made


def build(runner: DockerRunner, *args: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    return runner.run("image", "build", "--docker-host", runner.daemon.host, *args, code=code)


def test_the_standin_image_says_what_it_holds(docker_daemon: Daemon):
    found = docker_daemon.client.inspect_image(STANDIN)["Config"]
    assert found["Labels"]["ras-runner.engine"] == "standin"
    assert found["Labels"]["ras-runner.engine-version"] == ras_standin.__version__
    assert found["Labels"]["org.opencontainers.image.title"] == ras_standin.LABEL
    assert found["User"] == "1000:1000"


def test_an_archive_becomes_a_worker(docker_runner: DockerRunner, project: Project, archive: Path):
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    args = ["--hecras-archive", archive, "--version", "6.6", "-t", "hecras:6.6", "--base", STANDIN]
    assert build(docker_runner, *args, "--sha256", digest).stdout == "hecras:6.6\n"
    labels = docker_runner.daemon.client.inspect_image("hecras:6.6")["Config"]["Labels"]
    assert labels["ras-runner.engine"] == "hecras-linux"
    assert labels["ras-runner.engine-version"] == "6.6"
    assert labels["ras-runner.engine-sha256"] == digest
    prepare = [sys.executable, "-m", "ras_standin", "prepare", project.prj.name, f"{project.name}.p01"]
    subprocess.run(prepare, cwd=project.folder, check=True, capture_output=True)
    docker_runner.write_inventory(engine="hecras-linux", docker_image="hecras:6.6")
    (result,) = docker_runner.execute(project.folder, "--plans", "1")
    assert result["engine"] == "HEC-RAS 6.6 Linux"
    assert read_result(project.file("p01.hdf")).outcome.success
    docker_runner.write_inventory(engine="hecras-linux", docker_image="hecras:6.6", version="6.5")
    wrong = docker_runner.run("execute", project.folder, "-i", docker_runner.inventory, code=2)
    assert "holds HEC-RAS 6.6, not 6.5" in wrong.stderr


def test_what_goes_into_the_image(archive: Path, tmp_path: Path):
    unpack_hecras(archive, tmp_path / "out")
    files = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert files == [
        "bin/RasGeomPreprocess",
        "bin/RasSteady",
        "bin/RasUnsteady",
        "libs/libiomp5.so",
        "libs/mkl/libmkl_core.so.2",
    ]


def test_old_archives_without_a_bin_folder():
    places = hecras_members(["v61/Release/RasUnsteady", "v61/Release/RasSteady", "v61/libs/a.so", "v61/notes.txt"])
    assert set(places.values()) == {PurePosixPath(p) for p in ("bin/RasUnsteady", "bin/RasSteady", "libs/a.so")}
    with pytest.raises(InputError, match="no program RasUnsteady"):
        hecras_members(["RAS/Ras.exe"])


def test_dockerfile_of_hecras():
    labels = {"ras-runner.engine": "hecras-linux", "ras-runner.engine-version": "6.6"}
    text = render_dockerfile(
        "hecras", base="debian:12-slim", title="HEC-RAS for Linux", version="6.6", labels=labels, folder="/opt/hecras"
    )
    assert text == (
        "# HEC-RAS 6.6 for Linux. Made by: ras-runner image build\n"
        "FROM debian:12-slim AS unpacked\n"
        "USER 0:0\n"
        "COPY hecras /opt/hecras\n"
        "RUN chmod -R u=rwX,go=rX /opt/hecras && chmod -R a+x /opt/hecras/bin\n"
        "\n"
        "FROM debian:12-slim\n"
        "COPY --from=unpacked /opt/hecras /opt/hecras\n"
        "ENV PATH=/opt/hecras/bin:/usr/local/bin:/usr/bin:/bin \\\n"
        "    LD_LIBRARY_PATH=/opt/hecras/libs:/opt/hecras/libs/mkl:/opt/hecras/libs/rhel_8\n"
        'LABEL org.opencontainers.image.title="HEC-RAS for Linux" \\\n'
        '      org.opencontainers.image.version="6.6" \\\n'
        '      ras-runner.engine="hecras-linux" \\\n'
        '      ras-runner.engine-version="6.6"\n'
        "USER 1000:1000\n"
    )


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["-t", "x"], "give --hecras-archive FILE"),
        (["-t", "x", "--standin", "--hecras-archive", "a.zip"], "give --hecras-archive FILE"),
        (["-t", "x", "--standin", "--version", "6.6"], "leave them out with --standin"),
        (["-t", "a b", "--standin"], "tag 'a b' is not the name of an image"),
        (["-t", "x", "--standin", "--base", "debian\nRUN id"], "is not the name of an image"),
        (["-t", "x", "--hecras-archive", "nowhere.zip", "--version", "6.6"], "nowhere.zip cannot be read"),
        (["-t", "x", "--hecras-archive", "nowhere.zip"], "version '' is not a HEC-RAS version"),
    ],
)
def test_wrong_orders(docker_runner: DockerRunner, args: list[str], said: str):
    assert said in build(docker_runner, *args, code=2).stderr


def test_wrong_archives(docker_runner: DockerRunner, archive: Path):
    order = ["--hecras-archive", archive, "--version", "6.6", "-t", "x", "--base", BASE]
    assert "has the SHA-256 checksum" in build(docker_runner, *order, "--sha256", "0" * 64, code=2).stderr
    archive.write_bytes(archive.read_bytes()[:500])
    assert "cannot be read as a zip archive" in build(docker_runner, *order, code=2).stderr


def test_a_build_that_fails_says_its_last_lines(docker_runner: DockerRunner):
    done = build(docker_runner, "-t", "x", "--standin", "--base", "no-such-base", code=2)
    assert "no-such-base" in done.stderr
    assert "--base" in done.stderr
