"""The programs that run on SSH hosts, in each shell that this machine has; and what is made of recorded answers."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path, PurePosixPath

import pytest

from ras_runner.hashing import hash_bytes
from ras_runner.transports import ssh_programs as programs
from ras_runner.transports import ssh_store as store
from ras_runner.transports.base import Place, Probe, Status, Upload
from ras_runner.transports.ssh_bundle import DAMAGED, NO_LINKS, Bundle, place_script, receive_bundle_program
from ras_runner.transports.ssh_files import SUM_TOOLS, Incoming
from ras_runner.transports.ssh_login import Hop, parse_hop
from ras_runner.transports.ssh_shell import framed

SHELLS = [shell for shell in (["dash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(shell[0])]
PROBE = Probe("a1", PurePosixPath("/w/it's"), "", (PurePosixPath("/w/it's/p/x.bco"), PurePosixPath("/w/it's/out")))


def sh(shell: list[str], program: str, stdin: bytes = b"") -> bytes:
    done = subprocess.run([*shell, "-c", program], input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_programs_in_each_shell(shell: list[str], tmp_path: Path):
    root = PurePosixPath(tmp_path) / "it's $HOME"
    kind, folder, _ = sh(shell, programs.prepare_program(str(root))).split(b"\0")
    assert (kind, folder.decode()) == (b"ok", str(root))
    target, data = root / "x", bytes(range(256)) * 300
    Path(target).write_bytes(data)
    Path(root, "w", "a1", "p").mkdir(parents=True)
    Path(root, "w", "a1", "p", "z").write_bytes(data)
    probe = Probe("a1", root / "w" / "a1", "", (target,))
    assert sh(shell, programs.claim_program(probe.folder, "t")) == b"taken\n"
    assert sh(shell, programs.claim_program(probe.folder, "u")) == b"started\n"
    Path(probe.folder, "exit.json").write_text('{"exit_code": 4}\n', encoding="ascii")
    status = programs.read_poll(sh(shell, programs.poll_program([probe], "b")), [probe], "b")["a1"]
    assert (status.alive, status.exit_code, status.tails) == (False, 4, (data[-4096:].decode("latin-1"),))
    Path(probe.folder, "p", "new\nline").touch()
    listing = programs.read_listing(sh(shell, programs.list_program(probe, probe.folder / "p")))
    assert [(file.name, file.size) for file in listing.files] == [("new\nline", 0), ("z", 76800)]
    sent = sh(shell, programs.send_program(probe.folder / "p", ["z", "new\nline"], "sha256sum", compress=False))
    assert sent.startswith(data)
    assert programs.read_sums(sent[len(data) :], 2)[0] == hashlib.sha256(data).hexdigest()
    assert sh(shell, programs.read_program(target, 76790, 4)) == b"yes\n" + data[-4:]
    assert sh(shell, programs.stop_program(probe)).strip() == b""
    os.link(target, Path(probe.folder, "p", "linked"))
    if os.geteuid() == 0:
        sh(shell, programs.give_program(probe.folder, "4321:4321"))
        assert Path(probe.folder, "p", "z").stat().st_uid == Path(probe.folder).stat().st_uid == 4321
        assert Path(target).stat().st_uid == 0  # a link into the store stays whose it is
    (Path(probe.folder).parent / "link").symlink_to(probe.folder)
    (Path(probe.folder).parent / "file").touch()
    (Path(probe.folder).parent / "new\nline").mkdir()
    os.utime(Path(probe.folder).parent / "new\nline", (0, time.time() - 86400))
    found = {f.attempt: f.idle for f in programs.read_attempts(sh(shell, programs.attempts_program(root)))}
    assert found.keys() == {"a1", "new\nline"}
    assert found["a1"] < 3600 < 86000 < found["new\nline"] < 90000
    assert programs.read_attempts(sh(shell, programs.attempts_program(root / "none"))) == []
    sh(shell, programs.remove_program(probe.folder))
    assert not Path(probe.folder).exists()


@pytest.fixture
def busybox(tmp_path: Path) -> dict[str, str]:
    """An environment in which every tool is busybox'."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split():
        (tools / name).symlink_to(shutil.which("busybox"))
    return {"PATH": str(tools)}


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_store_programs_in_each_shell(shell: list[str], tmp_path: Path, request: pytest.FixtureRequest):
    """With busybox as the shell, all tools are busybox' too."""
    tools = request.getfixturevalue("busybox") if shell[0] == "busybox" else None

    def run(program: str, stdin: bytes = b"") -> tuple[int, bytes]:
        command = [str(shutil.which(shell[0])), *shell[1:], "-c", program]
        done = subprocess.run(command, input=stdin, capture_output=True, check=False, env=tools)
        return done.returncode, done.stdout

    root = PurePosixPath(tmp_path) / "it's $HOME"
    Path(root, "store").mkdir(parents=True)
    spare = root / "store" / "in.1.part"
    digests = [hash_bytes(bytes([n])) for n in range(3)]
    targets = [root / "store" / digest[:2] / digest for digest in digests]
    named = run(store.SUM_PROGRAM)[1].decode().strip()
    tool = SUM_TOOLS[named]
    assert named == "sha256sum" or tools is None

    files = [
        Upload(bytes([n]), target, digest) for n, (target, digest) in enumerate(zip(targets, digests, strict=True))
    ]
    files.append(Upload(b"own", root / "w" / "a\n1" / "it's"))
    bundle = Bundle([*files, files[0]], root, tool)
    data = b"".join(bundle.pieces())
    for _ in range(2):
        assert run(receive_bundle_program(spare), data) == (0, b"")
    assert run(store.carried(data, receive_bundle_program(spare))) == (0, b"")
    assert [Path(file.target).read_bytes() for file in files] == [file.source for file in files]
    assert [Path(file.target).stat().st_mode & 0o777 for file in files] == [0o444] * 3 + [0o644]
    damaged = data.replace(b"own", b"odd")
    assert run(receive_bundle_program(spare), damaged)[0] == DAMAGED
    assert not Path(spare).exists()

    places = [Place(targets[n % 3], root / "w" / "a 1" / f"'{n}\n", n % 2 == 0) for n in range(6)]
    for program in (store.place_program(places, root, spare), store.place_each_program(places)) * 2:
        assert run(program) == (0, b"")
        for place in places:
            assert Path(place.target).read_bytes() == Path(place.source).read_bytes()
            assert Path(place.target).samefile(place.source) == place.link
            assert Path(place.target).stat().st_mode & 0o200 == (0 if place.link else 0o200)
        assert not Path(spare).exists()
    missing = [Place(root / "store" / "none", root / "w" / "none", True)]
    assert run(store.place_program(missing, root, spare))[0] == NO_LINKS
    assert run(store.place_each_program(missing))[0] == 1

    mtimes = [Path(target).stat().st_mtime_ns for target in targets]
    os.utime(targets[0], ns=(10**18, mtimes[0]))
    asked = [targets[0], root / "none", root, targets[1]] * 60
    assert store.read_sizes(run(store.sizes_program(asked))[1], asked) == {targets[0]: 1, targets[1]: 1}
    assert Path(targets[0]).stat().st_atime_ns > 10**18, "it counts as used"
    assert [Path(target).stat().st_mtime_ns for target in targets] == mtimes

    temporary, target = root / "store" / "ab" / "x.part", root / "store" / "ab" / "x"
    assert run(store.receive_program(temporary, append=False), b"one") == (0, b"")
    assert run(store.receive_program(temporary, append=True), b"two") == (0, b"")
    commit = store.commit_program(temporary, target, tool.of(b"onetwo"), tool.command, store=True)
    assert run(commit) == run(commit) == (0, b"ok\n"), "an answer that was lost is given again"
    assert Path(target).read_bytes() == b"onetwo"
    run(store.receive_program(temporary, append=False), b"onetw0")
    assert run(commit) == (0, b"differs\n")
    assert not Path(temporary).exists()


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_trimming_programs_in_each_shell(shell: list[str], tmp_path: Path):
    find = "busybox find" if shell[0] == "busybox" else "find"

    def run(program: str) -> bytes:
        return sh(shell, program.replace("find ", f"{find} "))

    root = tmp_path / "it's"
    old = time.time() - 2 * 3600
    sizes = {"old": 10, "linked": 20, "used": 30, "fresh": 40}
    paths = {name: root / hash_bytes(name.encode())[:2] / hash_bytes(name.encode()) for name in sizes}
    for name, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(sizes[name]))
        os.utime(path, (old, old))
    (root / "link").hardlink_to(paths["linked"])
    os.utime(paths["used"], (time.time(), old))
    os.utime(paths["fresh"])
    stale, lately = root / "in.1.part", root / "in.2.part"
    for folder in (stale, lately):
        (folder / "t").mkdir(parents=True)
        (folder / "t" / "x").write_bytes(bytes(100_000))
    piece = root / "ab" / "x.1.part"
    piece.parent.mkdir(exist_ok=True)
    piece.touch()
    for path in (stale, piece):
        os.utime(path, (old - 86400, old - 86400))
    now, freed, files = store.read_store(run(store.list_store_program(PurePosixPath(root))))
    assert abs(now - time.time()) < 60
    assert 100_000 <= freed < 200_000
    assert (stale.exists(), piece.exists(), lately.exists()) == (False, False, True)
    found = {file.name: file for file in files}
    names = {name: path.relative_to(root).as_posix() for name, path in paths.items()}
    assert {name: (found[there].size, found[there].links) for name, there in names.items()} == {
        "old": (10, 1),
        "linked": (20, 2),
        "used": (30, 1),
        "fresh": (40, 1),
    }
    gone = run(store.evict_program(PurePosixPath(root), [*names.values(), "ab/gone"]) + "exit 0")
    assert gone.decode().splitlines() == [names["old"]], "the others were used or linked to by then"
    assert {name for name, path in paths.items() if path.exists()} == {"linked", "used", "fresh"}


@pytest.mark.parametrize(
    "answer", [b"", b"1 0\n", b"1 0\n2 3 4 1 ./ab/x\n", b"x 0\nend\n", b"1\nend\n", b"1 0\n2 3\nend\n"]
)
def test_lists_of_a_store_that_are_none(answer: bytes):
    with pytest.raises(programs.BadAnswerError):
        store.read_store(answer)


def test_a_file_that_goes_while_it_is_looked_at():
    paths = [PurePosixPath("/a"), PurePosixPath("/b"), PurePosixPath("/c")]
    assert store.read_sizes(b"0 2\n7\n8\n", paths) == {paths[0]: 7, paths[2]: 8}
    for cut in (b"0 2\n7\n", b"0 1\n7\n2 0\n1\n"):
        with pytest.raises(programs.BadAnswerError):
            store.read_sizes(cut, paths)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_shell_goes_on_after_each_program(shell: list[str]):
    text = framed(b"cat; echo a; echo b >&2; exit 7", "B1") + framed(b"cd /; nonsense-command", "B2") + b"pwd\n"
    done = subprocess.run(shell, input=text, capture_output=True, check=True, cwd="/usr")
    assert done.stdout == b"a\n\n@B1 7\n\n@B2 127\n/usr\n"
    assert done.stderr.startswith(b"b\n\n@B1 0\n")


def test_names_are_always_quoted():
    nasty = PurePosixPath("/w/$(touch x)")
    texts = [
        programs.remove_program(nasty),
        programs.read_program(nasty, 3, 4),
        store.sizes_program([nasty]),
        store.place_program([Place(nasty, nasty, link=False)], nasty.parent, nasty),
        store.place_each_program([Place(nasty, nasty, link=True)]),
        store.commit_program(nasty, nasty, "0", "b2sum", store=True),
        store.evict_program(nasty, ["$(touch x)"]),
        place_script("b2sum", nasty, {nasty: "s/1"}, durable=True),
        programs.launch_program("$(touch x)", nasty, "$(touch x)"),
        programs.poll_program([Probe("$(touch x)", nasty, "", (nasty,))], "b"),
        programs.stop_program(Probe("$(touch x)", nasty, "")),
        programs.send_program(nasty, ["$(touch x)"], "b2sum", compress=True),
    ]
    for text in texts:
        assert text.count("$(touch x)") == sum(text.count(f"'{head}$(touch x)") for head in ("", "/w/", "./")), text


RECORDED = (
    b"\n@b alive 0 1\n\n@b tail 0\nTime= 01JAN2000 01:00\n\n@b tail 0\n\x00\xff"
    b'\n@b alive 1 0\n\n@b exit 1 1700000000.250000000 1700000003.500000000\n{"exit_code": 0}\n\n@b end\n'
)
OTHER = Probe("a2", PurePosixPath("/w/a2"), "")


def test_a_recorded_look():
    looks = programs.read_poll(RECORDED, [PROBE, OTHER], "b")
    assert looks == {
        "a1": Status(True, None, None, ("Time= 01JAN2000 01:00\n", "\x00\xff")),
        "a2": Status(False, 0, 3.25),
    }


@pytest.mark.parametrize("length", range(0, len(RECORDED) - 1, 7))
def test_a_look_that_is_cut_short_is_none(length: int):
    with pytest.raises(programs.BadAnswerError):
        programs.read_poll(RECORDED[:length], [PROBE, OTHER], "b")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"exit_code": "x"}'])
def test_an_exit_file_that_a_full_disk_has_torn(content: bytes):
    answer = b"\n@b alive 0 0\n\n@b exit 0 1 2\n" + content + b"\n@b end\n"
    assert programs.read_poll(answer, [PROBE], "b")["a1"] == Status(False, None)


def test_a_listing_of_what_never_began():
    assert programs.read_listing(b"1\0never\0end\0") == programs.Listing(1.0, None, ())


@pytest.mark.parametrize("answer", [b"", b"1\0", b"1\x002\0", b"1\0\0end\0", b"1\x002\0x y z\0end\0", b"1\x002\0end"])
def test_listings_that_are_none(answer: bytes):
    with pytest.raises(programs.BadAnswerError):
        programs.read_listing(answer)


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 100])
def test_files_in_one_stream_whatever_its_pieces(tmp_path: Path, piece: int):
    contents = [b"", b"abc", b"", b"defghij", b"k", b""]
    stream = b"".join(contents) + b"rest"
    incoming = Incoming(
        [(tmp_path / str(i), len(content)) for i, content in enumerate(contents)], SUM_TOOLS["sha256sum"]
    )
    with incoming:
        for start in range(0, len(stream), piece):
            incoming.take(stream[start : start + piece])
    assert [(tmp_path / str(i)).read_bytes() for i in range(6)] == contents
    assert incoming.sums == [hashlib.sha256(content).hexdigest() for content in contents]
    assert incoming.rest == b"rest"


def test_hops():
    assert parse_hop("u@h:23", "me") == Hop("u", "h", 23)
    assert parse_hop("h", "me") == Hop("me", "h", 22)
    assert parse_hop("[::1]:2222", "me") == Hop("me", "::1", 2222)
    for wrong in ("", "u@", "h:0", "h:99999", "h:x", "a b"):
        with pytest.raises(ValueError, match="user@host:port"):
            parse_hop(wrong, "me")
