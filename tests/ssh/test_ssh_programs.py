"""The programs that run on SSH hosts, in each shell that this machine has; and what is made of recorded answers."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path, PurePosixPath

import pytest

from ras_runner.transports import ssh_programs as programs
from ras_runner.transports.base import Place, Probe, Status
from ras_runner.transports.ssh_files import Incoming
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
    temporary, target = root / "x.part", root / "x"
    data = bytes(range(256)) * 300
    assert sh(shell, programs.put_program(data, temporary, target, store=True)) == b"ok\n"
    assert Path(target).read_bytes() == data
    sh(shell, programs.receive_program(temporary, append=False), b"one")
    sh(shell, programs.receive_program(temporary, append=True), b"two")
    assert sh(shell, programs.commit_program(temporary, root / "y", "0" * 64, store=False)) == b"differs\n"
    assert not Path(temporary).exists()
    sh(shell, programs.place_program([Place(target, root / "w" / "a1" / "p" / "z", link=False)]))
    assert programs.read_sizes(sh(shell, programs.sizes_program([target, root, temporary])), [target]) == {
        target: 76800
    }
    probe = Probe("a1", root / "w" / "a1", "", (target,))
    assert sh(shell, programs.claim_program(probe.folder, "t")) == b"taken\n"
    assert sh(shell, programs.claim_program(probe.folder, "u")) == b"started\n"
    Path(probe.folder, "exit.json").write_text('{"exit_code": 4}\n', encoding="ascii")
    status = programs.read_poll(sh(shell, programs.poll_program([probe], "b")), [probe], "b")["a1"]
    assert (status.alive, status.exit_code, status.tails) == (False, 4, (data[-4096:].decode("latin-1"),))
    Path(probe.folder, "p", "new\nline").touch()
    listing = programs.read_listing(sh(shell, programs.list_program(probe, probe.folder / "p")))
    assert [(file.name, file.size) for file in listing.files] == [("new\nline", 0), ("z", 76800)]
    sent = sh(shell, programs.send_program(probe.folder / "p", ["z", "new\nline"], compress=False))
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
        programs.sizes_program([nasty]),
        programs.place_program([Place(nasty, nasty, link=True)]),
        programs.launch_program("$(touch x)", nasty, "$(touch x)"),
        programs.poll_program([Probe("$(touch x)", nasty, "", (nasty,))], "b"),
        programs.stop_program(Probe("$(touch x)", nasty, "")),
        programs.send_program(nasty, ["$(touch x)"], compress=True),
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


@pytest.mark.parametrize("answer", [b"", b"1\0", b"1\x002\0", b"1\0\0end\0", b"1\x002\0x y z\0end\0", b"1\x002\0end"])
def test_listings_that_are_none(answer: bytes):
    with pytest.raises(programs.BadAnswerError):
        programs.read_listing(answer)


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 100])
def test_files_in_one_stream_whatever_its_pieces(tmp_path: Path, piece: int):
    contents = [b"", b"abc", b"", b"defghij", b"k", b""]
    stream = b"".join(contents) + b"rest"
    incoming = Incoming([(tmp_path / str(i), len(content)) for i, content in enumerate(contents)])
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
