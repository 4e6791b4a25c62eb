"""Files on a share, against a real smbd: what arrives, what is refused, what happens when the network goes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

import pytest
from pydantic import SecretStr
from tests.commands import wait_until
from tests.services import needs_mounts
from tests.simulators.windows_host.host import SHARE, WindowsHost
from tests.simulators.windows_host.smbd import PASSWORD, USER
from tests.ssh.sshd import free_port

from ras_runner.errors import InputError, OperatorError, TransientError, WorkerError
from ras_runner.hashing import SourceChangedError, hash_bytes, hash_file
from ras_runner.transports import smb as smb_module
from ras_runner.transports.base import Place, Probe, Upload
from ras_runner.transports.smb import SmbFiles
from ras_runner.transports.smb_login import SmbLogin
from ras_runner.transports.smb_share import Share

ROOT = PureWindowsPath(r"C:\RasRemote")
NAMES = ["with space", "it's", "$(x)`id`", "-rf", "Ωé 測", ".hidden", "a;b&c", "100%", "^!(1)", "x" * 200]


def make_files(host: WindowsHost, **login: object) -> SmbFiles:
    named = {"username": USER, "password": SecretStr(PASSWORD), "port": host.smbd.port, **login}
    return SmbFiles(PureWindowsPath(rf"\\127.0.0.1\{SHARE}"), ROOT, SmbLogin("127.0.0.1", **named))


@pytest.fixture
def files(plain_host: WindowsHost) -> SmbFiles:
    made = make_files(plain_host)
    made.prepare()
    return made


@pytest.fixture
def share(plain_host: WindowsHost) -> Path:
    return plain_host.share


def test_it_is_encrypted_and_signed(files: SmbFiles):
    connections = files.links.call("look", lambda link: (link.connection.dialect, link.session.encrypt_data))
    assert connections == (0x311, True)


def test_a_host_without_encryption_is_signed(plain_host: WindowsHost):
    plain_host.smbd.options["global"] = ["server max protocol = SMB2_10", "server signing = mandatory"]
    plain_host.smbd.stop()
    plain_host.smbd.start()
    made = make_files(plain_host)
    made.prepare()
    assert made.links.call("look", lambda link: (link.session.encrypt_data, link.session.signing_required)) == (
        False,
        True,
    )


def test_files_with_hostile_names(files: SmbFiles, share: Path, tmp_path: Path):
    for number, name in enumerate(NAMES):
        check_name(files, share, tmp_path / f"scratch{number}", name)


def check_name(files: SmbFiles, share: Path, scratch: Path, name: str) -> None:
    folder = files.root / "w" / name[:60]
    path = folder / name[:150]
    here = share / "w" / name[:60]
    files.put([Upload(b"a\x00b\nc", path)])
    files.place([Place(path, folder / "link", link=True), Place(path, folder / "copy", link=False)])
    files.place([Place(path, folder / "link", link=True), Place(path, folder / "copy", link=False)])
    assert files.stored([path, folder / "link", folder / "none"]) == {path: 5, folder / "link": 5}
    assert files.read(path) == b"a\x00b\nc"
    assert files.read(path, start=2, last=2) == b"\nc"
    assert files.read(folder / "none") is None
    assert (here / "link").stat().st_ino == (here / name[:150]).stat().st_ino != (here / "copy").stat().st_ino
    assert files.claim(folder)
    files.place([Place(path, folder / "copy", link=False)])
    collected = files.collect(Probe("x", folder, ""), folder, ["C*"], scratch)
    assert collected.names == ("copy",)
    assert (collected.folder / "copy").read_bytes() == b"a\x00b\nc"
    assert (collected.folder / "link").read_bytes() == b""  # its name alone
    files.remove(folder)
    assert not here.exists()


def test_names_that_windows_cannot_have_are_refused_before_anything_travels(files: SmbFiles, share: Path):
    good = Upload(b"x", files.root / "w" / "good")
    for name in ("CON", "aux.p01", "dot.", "space ", "a:b", "x" * 250):
        with pytest.raises(InputError):
            files.put([good, Upload(b"x", files.root / "w" / name)])
        with pytest.raises(InputError):
            files.place([Place(good.target, files.root / "w" / name, link=True)])
    assert list((share / "w").iterdir()) == []


def test_store_files_arrive_whole_or_not_at_all(files: SmbFiles, share: Path, tmp_path: Path):
    source = tmp_path / "terrain"
    for size in (0, 10, 1 << 18, (1 << 18) + 1, 9_000_001):
        source.write_bytes(os.urandom(size))
        target = files.root / "store" / "ab" / str(size)
        files.put([Upload(source, target, hash_file(source))])
        assert (share / "store" / "ab" / str(size)).read_bytes() == source.read_bytes()
        with pytest.raises(SourceChangedError):
            files.put([Upload(source, target.with_name("other"), "0" * 64)])
    with pytest.raises(InputError, match="gone cannot be read"):
        files.put([Upload(tmp_path / "gone", files.root / "store" / "gone")])
    assert sorted(p.name for p in (share / "store" / "ab").iterdir()) == ["0", "10", "262144", "262145", "9000001"]


def test_nothing_outside_the_worker_folder_is_removed(files: SmbFiles, share: Path):
    for path in (files.root, files.root / ".." / "x", PureWindowsPath("C:\\"), PureWindowsPath(r"D:\RasRemote\w")):
        with pytest.raises(WorkerError, match="not below the worker folder"):
            files.remove(path)
    assert (share / "store").is_dir()
    files.remove(files.root / "never was")


def test_the_claim_is_taken_once_and_known_again(files: SmbFiles, plain_host: WindowsHost):
    folder = files.root / "w" / "a1"
    assert files.claim(folder)  # there is nothing to claim
    files.put([Upload(b"", folder / "run.cmd")])
    assert files.claim(folder)
    assert files.claim(folder)
    assert not make_files(plain_host).claim(folder)


def test_results_are_what_was_written_after_the_claim_by_the_hosts_clock(files: SmbFiles, share: Path, tmp_path: Path):
    probe = Probe("a1", files.root / "w" / "a1", "")
    folder = share / "w" / "a1"
    files.put([Upload(b"old", probe.folder / "p" / "x.p01.hdf"), Upload(b"in", probe.folder / "p" / "x.prj")])
    (folder / "claim").mkdir()
    for path, hours in ((folder / "claim", 5), (folder / "p" / "x.p01.hdf", 4)):  # a clock that is hours ahead
        os.utime(path, (time.time() + hours * 3600,) * 2)
    assert files.collect(probe, probe.folder / "p", ["x.p01.hdf"], tmp_path / "a").names == ()
    (folder / "p" / "x.p01.hdf").write_bytes(b"result" * 500_000)
    os.utime(folder / "p" / "x.p01.hdf", (time.time() + 6 * 3600,) * 2)
    files.ahead = 6 * 3600.0
    collected = files.collect(probe, probe.folder / "p", ["x.p01.hdf", "*.hdf"], tmp_path / "b")
    assert collected.names == ("x.p01.hdf",)
    assert (collected.folder / "x.p01.hdf").read_bytes() == b"result" * 500_000
    assert abs((collected.folder / "x.p01.hdf").stat().st_mtime - time.time()) < 60


def aged(files: SmbFiles, share: Path, **hours: float) -> dict[str, Path]:
    """Store files of 1000 bytes that were last used so many hours ago: name -> path on the share."""
    made = {}
    for name, ago in hours.items():
        digest = hash_bytes(name.encode())
        files.put([Upload(b"x" * 1000, files.root / "store" / digest[:2] / digest)])
        made[name] = share / "store" / digest[:2] / digest
        os.utime(made[name], (time.time() - ago * 3600,) * 2)
    return made


def test_trim_takes_what_was_not_used_for_long_and_is_in_no_workspace(files: SmbFiles, share: Path):
    store = files.root / "store"
    made = aged(files, share, old=3, older=4, linked=5, new=0.5)
    linked = store.joinpath(*made["linked"].parts[-2:])
    files.place([Place(linked, files.root / "w" / "a1" / "x", link=True)])
    files.put([Upload(b"x" * 70, store / name) for name in ("cut.part", "fresh.part", "not ours")])
    for name, hours in (("cut.part", 30), ("fresh.part", 3), ("not ours", 99)):
        os.utime(share / "store" / name, (time.time() - hours * 3600,) * 2)
    assert files.trim(3000) == 1070
    assert {name for name, path in made.items() if path.exists()} == {"linked", "new", "old"}
    assert sorted(p.name for p in (share / "store").iterdir() if p.is_file()) == ["fresh.part", "not ours"]
    files.stored([store.joinpath(*made["old"].parts[-2:])])  # used now
    assert files.trim(0) == 0


def test_two_controllers_trim_one_store(files: SmbFiles, share: Path, monkeypatch: pytest.MonkeyPatch):
    """What the other has taken since the list was made is no error, and is not counted."""
    made = aged(files, share, first=9, second=8, third=7)
    links = Share.links
    others = [made["second"], made["first"]]

    def slow_links(self: Share, path: str) -> int:
        found = links(self, path) if others == [] or others[-1].name not in path else 1
        if others:
            others.pop().unlink()
        return found

    monkeypatch.setattr(Share, "links", slow_links)
    assert files.trim(0) == 1000
    assert not any(path.exists() for path in made.values())


def test_a_full_disk_and_a_share_that_cannot_be_written(plain_host: WindowsHost, tmp_path: Path):
    needs_mounts()
    source = tmp_path / "large"
    source.write_bytes(os.urandom(3_000_000))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", plain_host.share], check=True)
    try:
        made = make_files(plain_host)
        made.prepare()
        with pytest.raises(OperatorError, match=r"the disk of the worker folder .* is full"):
            made.put([Upload(source, ROOT / "store" / "ab" / "x", hash_file(source))])
        assert list((plain_host.share / "store").rglob("*.part")) == []
    finally:
        subprocess.run(["umount", "--lazy", plain_host.share], check=True)
    plain_host.smbd.options[SHARE] = ["read only = yes"]
    plain_host.smbd.stop()
    plain_host.smbd.start()
    with pytest.raises(OperatorError, match="is denied"):
        make_files(plain_host).prepare()


@pytest.fixture
def slow_writes(files: SmbFiles, plain_host: WindowsHost, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The connections are cut once, in the middle of a transfer; the list gets the bytes that had arrived."""
    cut: list[int] = []
    whole = smb_module.Share.write_pieces

    def cutting(self, path, start, pieces):
        for arrived in whole(self, path, start, pieces):
            yield arrived
            if not cut and arrived > 5_000_000:
                cut.append(arrived)
                plain_host.smbd.cut()
        cut.append(start)

    monkeypatch.setattr(smb_module.Share, "write_pieces", cutting)
    yield cut


def test_a_transfer_that_is_cut_goes_on_where_it_was(
    files: SmbFiles, share: Path, tmp_path: Path, slow_writes: list[int]
):
    source = tmp_path / "terrain"
    source.write_bytes(os.urandom(20_000_000))
    files.put([Upload(source, files.root / "store" / "ab" / "x", hash_file(source))])
    assert slow_writes[1] >= slow_writes[0] > 5_000_000
    assert (share / "store" / "ab" / "x").read_bytes() == source.read_bytes()


def test_an_answer_to_the_rename_that_is_lost_harms_nothing(
    files: SmbFiles, plain_host: WindowsHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source = tmp_path / "terrain"
    source.write_bytes(os.urandom(3_000_000))
    whole, cuts = smb_module.Share.rename, []

    def cutting(self, old, new):
        whole(self, old, new)
        if not cuts:
            cuts.append(plain_host.smbd.cut())
            self.info("w")

    monkeypatch.setattr(smb_module.Share, "rename", cutting)
    files.put([Upload(source, files.root / "store" / "ab" / "x", hash_file(source))])
    assert cuts[0] > 0
    assert [p.read_bytes() == source.read_bytes() for p in (plain_host.share / "store" / "ab").iterdir()] == [True]


def test_a_lost_connection_is_made_again_with_the_credentials(files: SmbFiles, plain_host: WindowsHost):
    files.put([Upload(b"x", files.root / "w" / "x")])
    assert plain_host.smbd.cut() > 0
    assert files.read(files.root / "w" / "x") == b"x"


def test_a_host_that_stops_answering_is_given_up(
    files: SmbFiles, plain_host: WindowsHost, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(smb_module, "_TRIES", 1)
    with plain_host.smbd.stalled(), pytest.raises(TransientError, match="no answer within 1 s"):
        files.links.call("look", lambda link: files._share(link, 1.0).info("w"), limit=1.0)
    assert files.read(files.root / "none") is None


def test_a_transfer_that_stalls_is_given_up_and_goes_on(
    files: SmbFiles, plain_host: WindowsHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(smb_module, "_LIMIT", 1.0)
    source = tmp_path / "terrain"
    source.write_bytes(os.urandom(9_000_000))
    whole, stalls = smb_module.Share.write_pieces, []

    def stalling(self, path, start, pieces):
        for arrived in whole(self, path, start, pieces):
            if arrived > 3_000_000 and not stalls:
                stalls.append(arrived)
                stack.enter_context(plain_host.smbd.stalled())
                threading.Timer(2.0, stack.close).start()
            yield arrived

    monkeypatch.setattr(smb_module.Share, "write_pieces", stalling)
    with contextlib.ExitStack() as stack:
        target = files.root / "store" / "ab" / "x"
        files.put([Upload(source, target, hash_file(source))])
    assert stalls
    assert (plain_host.share / "store" / "ab" / "x").read_bytes() == source.read_bytes()


def test_a_wrong_password_is_tried_once(plain_host: WindowsHost):
    made = make_files(plain_host, password=SecretStr("wrong"))
    said = []

    def ask() -> None:
        try:
            made.prepare()
        except OperatorError as error:
            said.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 4
    assert all(
        "logon of user Administrator refused: the user name or password is wrong" in text and "wrong'" not in text
        for text in said
    )
    log = plain_host.smbd.folder / "l" / "log"
    failed = "NT_STATUS_WRONG_PASSWORD"
    assert wait_until(lambda: log.read_text("utf-8", "replace").count(failed), "smbd tells of it") == 1


def test_without_credentials_this_machines_identity_is_tried(plain_host: WindowsHost, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NTLM_USER_FILE", raising=False)  # the simulated WinRM host knows its users by it
    with pytest.raises(OperatorError, match=r"this machine's own identity.*\n.*give username and password"):
        make_files(plain_host, username="", password=None).prepare()


def test_hosts_that_are_not_there(plain_host: WindowsHost):
    with pytest.raises(WorkerError, match="nothing answers on port"):
        make_files(plain_host, port=free_port()).prepare()
    unknown = SmbFiles(PureWindowsPath(r"\\no-such-host.invalid\x"), ROOT, SmbLogin("no-such-host.invalid", "u"))
    with pytest.raises(OperatorError, match=r"no-such-host.invalid does not resolve"):
        unknown.prepare()
    other = SmbFiles(PureWindowsPath(r"\\127.0.0.1\Other"), ROOT, make_files(plain_host).links.login)
    with pytest.raises(OperatorError, match=r"there is no share .*Other"):
        other.prepare()


def test_what_never_began_or_has_gone_has_written_nothing(files: SmbFiles, tmp_path: Path):
    """As on this machine: the plan is run again."""
    probe = Probe("a1", ROOT / "w" / "a1", "")
    files.put([Upload(b"staged", probe.folder / "p" / "r.hdf")])
    assert files.collect(probe, probe.folder / "p", ["r.hdf"], tmp_path / "scratch").names == ()
    files.remove(probe.folder)
    assert files.collect(probe, probe.folder / "p", ["r.hdf"], tmp_path / "scratch").names == ()
