"""Archives in the place of those that one gets from HEC or saves from Docker."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path

#: In the place of HEC's programs: passes its arguments to the stand-in engine of the machine.
_PROGRAM = '#!/bin/sh\nPYTHONPATH=/opt/ras-standin exec python3 -m ras_standin {name} "$@"\n'


def hecras_archive(path: Path, comment: str = "") -> str:
    """Write an archive laid out as HEC's for Linux; returns its SHA-256 checksum."""
    with zipfile.ZipFile(path, "w") as out:
        for name in ("RasUnsteady", "RasGeomPreprocess", "RasSteady"):
            out.writestr(f"Ras_v66/bin/{name}", _PROGRAM.format(name=name) + comment)
        out.writestr("Ras_v66/libs/libiomp5.so", "x")
        out.writestr("Ras_v66/examples/Muncie/Muncie.prj", "x" * 1000)
        out.writestr("../outside", "x")
    return sha256(path)


def image_archive(path: Path, tag: str, labels: dict[str, str]) -> str:
    """Write what ``docker save`` writes, of an empty image; returns its SHA-256 checksum."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w"):
        pass
    content = layer.getvalue()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]
    files = {
        "config.json": json.dumps(config).encode(),
        "layer.tar": content,
        "manifest.json": json.dumps(manifest).encode(),
    }
    with tarfile.open(path, "w") as out:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            out.addfile(member, io.BytesIO(data))
    return sha256(path)


def sha256(path: Path) -> str:
    """Checksum of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
