"""HEC-RAS's solver programs in a folder; runs on the worker with any Python 3.8 or later, and needs nothing else.

engine.py look FOLDER               what is installed, as JSON: version -> {sha256, missing libraries}
engine.py unpack ARCHIVE SHA256 TARGET   bin/ and libs/ of HEC's archive into TARGET, whole or not at all
engine.py remove FOLDER             what unpack made; what others put there stays
"""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

RECEIPT = ".ras-runner.json"
LIBRARIES = "libs:libs/mkl:libs/rhel_8"


def members(names):
    """Which members of the archive are wanted, and where they go: bin and libs may lie in a folder."""
    files = {name: pathlib.PurePosixPath(name) for name in names if not name.endswith("/")}
    solvers = sorted((p for p in files.values() if p.name == "RasUnsteady"), key=lambda p: len(p.parts))
    if not solvers:
        sys.exit("the archive has no program RasUnsteady: it is not HEC's archive for Linux")
    wanted = {}
    for name, path in files.items():
        if ".." in path.parts or path.is_absolute():
            continue
        if "libs" in path.parts[:-1]:
            wanted[name] = "/".join(path.parts[path.parts.index("libs") :])
        elif path.parent == solvers[0].parent:
            wanted[name] = "bin/" + path.name
    return wanted


def unpack(archive, sha256, target):
    """Unpack beside the target, then give it its name."""
    digest = hashlib.sha256()
    with pathlib.Path(archive).open("rb") as opened:
        for block in iter(lambda: opened.read(1 << 20), b""):
            digest.update(block)
    if digest.hexdigest() != sha256.lower():
        sys.exit(f"the archive has the SHA-256 checksum {digest.hexdigest()} here, not {sha256}")
    target = pathlib.Path(target)
    if target.exists():
        remove_one(target)
    if target.exists():
        sys.exit(f"{target} has files that ras-runner did not put there")
    target.parent.mkdir(parents=True, exist_ok=True)
    made = pathlib.Path(tempfile.mkdtemp(prefix=".ras-runner-", dir=str(target.parent)))
    try:
        with zipfile.ZipFile(archive) as opened:
            wanted = members(opened.namelist())
            for name, place in wanted.items():
                (made / place).parent.mkdir(parents=True, exist_ok=True)
                with opened.open(name) as source, (made / place).open("wb") as out:
                    shutil.copyfileobj(source, out, 1 << 20)
                (made / place).chmod(0o755)
        receipt = {"sha256": digest.hexdigest(), "files": sorted(wanted.values())}
        (made / RECEIPT).write_text(json.dumps(receipt), encoding="utf-8")
        for folder in (made, *(p for p in made.rglob("*") if p.is_dir())):
            folder.chmod(0o755)
        made.rename(target)
    except (OSError, zipfile.BadZipFile) as error:
        sys.exit(f"the archive cannot be unpacked into {target}: {error}")
    finally:
        shutil.rmtree(made, ignore_errors=True)


def look(folder):
    """Print the versions in a folder."""
    found = {}
    for program in sorted(pathlib.Path(folder).glob("*/bin/RasUnsteady")):
        version = program.parent.parent
        receipt = version / RECEIPT
        made = json.loads(receipt.read_text(encoding="utf-8")) if receipt.is_file() else {}
        found[version.name] = {"sha256": made.get("sha256", ""), "missing": missing_libraries(version)}
    print(json.dumps(found))


def missing_libraries(version):
    """Shared libraries that RasUnsteady does not find on this machine."""
    places = ":".join(str(version / place) for place in LIBRARIES.split(":"))
    try:
        done = subprocess.run(
            ["ldd", str(version / "bin" / "RasUnsteady")],
            env={**os.environ, "LD_LIBRARY_PATH": places, "LC_ALL": "C"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            check=False,
        )
    except FileNotFoundError:  # a machine without ldd (musl): nothing can be said
        return []
    return [line.split()[0] for line in done.stdout.splitlines() if "not found" in line]


def remove_one(version):
    """Remove the files of the receipt, and the folders that are empty then."""
    receipt = version / RECEIPT
    if not receipt.is_file():
        return
    for name in json.loads(receipt.read_text(encoding="utf-8"))["files"]:
        (version / name).unlink() if (version / name).exists() else None
    receipt.unlink()
    folders = sorted((p for p in version.rglob("*") if p.is_dir() and not p.is_symlink()), reverse=True)
    for folder in (*folders, version, version.parent):
        try:
            folder.rmdir()
        except OSError:  # others' files are in it
            continue


def remove(folder):
    """Remove every version that was unpacked here; print how many."""
    receipts = sorted(pathlib.Path(folder).glob("*/" + RECEIPT))
    for receipt in receipts:
        remove_one(receipt.parent)
    print(len(receipts))


if __name__ == "__main__":
    {"look": look, "unpack": unpack, "remove": remove}[sys.argv[1]](*sys.argv[2:])
