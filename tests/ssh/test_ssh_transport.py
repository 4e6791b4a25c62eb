"""The SSH transport against a real sshd: names, transfers, processes, clocks, lost connections."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import psutil
import pytest
from tests.commands import wait_until
from tests.services import needs_mounts
from tests.ssh.sshd import Sshd, make_worker

from ras_runner.campaign.journal import Journal
from ras_runner.campaign.staging import Stager
from ras_runner.engines.base import StagedFile
from ras_runner.errors import DiskFullError, InputError, RasRunnerError, WorkerError
from ras_runner.hashing import FileHasher, SourceChangedError, hash_bytes, hash_file
from ras_runner.hecras.inputs import Access
from ras_runner.transports import ssh as ssh_module
from ras_runner.transports import ssh_store
from ras_runner.transports.base import Place, Probe, Upload
from ras_runner.transports.ssh import SshTransport
from ras_runner.transports.ssh_programs import MARK
from ras_runner.transports.ssh_shell import Done
from ras_runner.transports.ssh_store import carried

HOSTILE = ["with space", 'it\'s "q"', "new\nline", "$(touch pwned)`id`", "-rf", "Ωé", ".hidden", "a;b&c|d", "*", "\\n"]


@pytest.fixture
def transport(tmp_path: Path, sshd: Sshd) -> SshTransport:
    made = make_worker(tmp_path, sshd).transport
    assert isinstance(made, SshTransport)
    return made


def attempt(transport: SshTransport, script: str = "", name: str = "a1") -> Probe:
    """An attempt's folder with a run script that claims it as the real one does."""
    folder = transport.root / "w" / name
    text = f"mkdir claim || exit 0\necho $$ >claim/pid.tmp && mv claim/pid.tmp claim/pid\n{script}\n"
    transport.put([Upload(text.encode(), folder / "run.sh")])
    return Probe(name, folder, "")


def gone(transport: SshTransport, probe: Probe) -> bool:
    return not transport.poll([probe])[probe.attempt].alive


@pytest.mark.parametrize("name", HOSTILE)
def test_files_with_hostile_names(transport: SshTransport, tmp_path: Path, name: str):
    folder = transport.root / "w" / name
    path = folder / name
    transport.put([Upload(b"a\x00b\nc", path)])
    transport.place([Place(path, folder / f"l{name}", link=True)])
    transport.place([Place(path, folder / f"c{name}", link=False)])
    assert transport.stored([path, folder / f"l{name}", folder / "none"]) == {path: 5, folder / f"l{name}": 5}
    assert transport.read(path) == b"a\x00b\nc"
    assert transport.read(path, start=2, last=2) == b"\nc"
    assert transport.read(folder / "none") is None
    assert Path(path).stat().st_ino == Path(folder / f"l{name}").stat().st_ino
    assert Path(path).stat().st_ino != Path(folder / f"c{name}").stat().st_ino
    assert transport.claim(folder)
    transport.place([Place(path, folder / f"c{name}", link=False)])
    collected = transport.collect(Probe("x", folder, ""), folder, ["[!l]*"], tmp_path / "scratch")
    assert collected.names == (f"c{name}",)
    assert (collected.folder / f"c{name}").read_bytes() == b"a\x00b\nc"
    transport.remove(folder)
    assert not Path(folder).exists()
    assert not [*Path(transport.root).rglob("pwned"), *Path.home().glob("pwned")]


def test_nothing_outside_the_worker_folder_is_removed(transport: SshTransport, tmp_path: Path):
    keep = tmp_path / "keep"
    keep.mkdir()
    for path in (PurePosixPath(keep), transport.root, transport.root / ".." / "keep", PurePosixPath("/")):
        with pytest.raises(WorkerError, match="not below the worker folder"):
            transport.remove(path)
    assert keep.is_dir()
    transport.remove(transport.root / "never was")


def test_store_files_are_verified_and_cannot_be_written(transport: SshTransport, tmp_path: Path):
    source = tmp_path / "terrain"
    for size in (0, 10, 1 << 17, (1 << 17) + 1, 5 << 20):
        source.write_bytes(os.urandom(size))
        target = transport.root / "store" / "ab" / str(size)
        transport.put([Upload(source, target, hash_file(source))])
        assert Path(target).read_bytes() == source.read_bytes()
        assert Path(target).stat().st_mode & 0o777 == 0o444
        with pytest.raises(SourceChangedError):
            transport.put([Upload(source, target.with_name("other"), "0" * 64)])
    assert not list(Path(transport.root).rglob("*.part"))
    assert not list(Path(transport.root).rglob("other"))


def test_a_file_that_has_gone_is_the_users(transport: SshTransport, tmp_path: Path):
    missing, target = tmp_path / "gone", transport.root / "store" / "gone"
    with pytest.raises(InputError, match="gone cannot be read"):
        transport.put([Upload(missing, target, "0" * 64)])
    with pytest.raises(InputError, match="gone cannot be read"):
        transport.put([Upload(missing, target, "0" * 64), Upload(b"x", transport.root / "x")])
    assert not list(Path(transport.root).rglob("*gone*"))


def test_many_small_files_in_one_stream(transport: SshTransport, tmp_path: Path):
    files = []
    for number in range(300):
        source = tmp_path / f"it's {number}"
        source.write_bytes(os.urandom(number * 20) if number else b"")
        digest = hash_file(source)
        files.append(Upload(source, transport.root / "store" / digest[:2] / digest, digest))
    files.append(files[5])
    files[7].source.write_bytes(b"changed")
    with pytest.raises(SourceChangedError, match="it's 7 changed"):
        transport.put(files)
    assert transport.stored([files[7].target]) == {}
    good = [file for file in files if file is not files[7]]
    assert all(Path(file.target).read_bytes() == file.source.read_bytes() for file in good)
    assert all(Path(file.target).stat().st_mode & 0o777 == 0o444 for file in good)
    places = [Place(file.target, transport.root / "w" / "a1" / f"{i} $x", i % 2 == 0) for i, file in enumerate(good)]
    transport.place(places)
    transport.place(places)
    assert all(Path(place.target).read_bytes() == Path(place.source).read_bytes() for place in places)
    assert all((Path(p.target).stat().st_ino == Path(p.source).stat().st_ino) == p.link for p in places)
    transport.put([])
    assert not list(Path(transport.root).rglob("*.part"))


def test_a_transfer_that_is_cut_goes_on_where_it_was(tmp_path: Path, sshd: Sshd, transport: SshTransport):
    source = tmp_path / "large"
    source.write_bytes(os.urandom(1 << 20) * 150)
    target = transport.root / "store" / "large"
    cuts: list[int] = []

    def cut() -> None:
        parts = Path(transport.root, "store")
        wait_until(lambda: any(p.stat().st_size > 20 << 20 for p in parts.glob("*.part")), "it has begun", 30)
        cuts.append(sshd.cut())

    thread = threading.Thread(target=cut)
    thread.start()
    transport.put([Upload(source, target, hash_file(source))])
    thread.join()
    assert cuts[0] >= 1
    assert hash_file(Path(target)) == hash_file(source)
    assert not list(Path(transport.root).rglob("*.part"))


@pytest.mark.parametrize("skew", [-3600.0, 3600.0])
def test_results_come_back_whole_with_times_of_this_clock(
    transport: SshTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skew: float
):
    """The controller's clock is an hour behind the host's, or ahead; beyond the office results come compressed."""
    probe = attempt(transport)
    folder = probe.folder / "p"
    transport.put([Upload(b"old", folder / "r.staged")])
    transport.launch("a1", probe.folder, "run.sh")
    large = os.urandom(3 << 20) + bytes(3 << 20)
    for name, data in (("r.hdf", large), ("r.empty", b""), ("r.tmp.hdf", b"left"), ("r.bco", b"text")):
        Path(folder, name).write_bytes(data)
    Path(folder, "r.link").symlink_to("/etc/passwd")
    real = time.time()
    monkeypatch.setattr(ssh_module.time, "time", lambda: real + skew)
    for far in (0.0, 1.0):
        transport.connection.round_trip = far
        scratch = tmp_path / f"scratch{far}"
        found = transport.collect(probe, folder, ["r.hdf", "r.e*", "r.bco", "r.staged", "r.link", "r.hdf"], scratch)
        assert found.names == ("r.hdf", "r.empty", "r.bco")
        assert (scratch / "r.hdf").read_bytes() == large
        assert (scratch / "r.bco").read_bytes() == b"text"
        assert (scratch / "r.tmp.hdf").read_bytes() == b""
        assert sorted(p.name for p in scratch.iterdir()) == ["r.bco", "r.empty", "r.hdf", "r.tmp.hdf"]
        assert -1.0 < (scratch / "r.hdf").stat().st_mtime - (real + skew) < 30.0


def test_what_never_began_or_has_gone_has_written_nothing(transport: SshTransport, tmp_path: Path):
    """As on this machine: the plan is run again. An error would keep it waiting for a workspace that never comes."""
    probe = attempt(transport)
    transport.put([Upload(b"staged", probe.folder / "p" / "r.hdf")])
    assert transport.collect(probe, probe.folder / "p", ["r.hdf"], tmp_path / "scratch").names == ()
    transport.remove(probe.folder)
    assert transport.collect(probe, probe.folder / "p", ["r.hdf"], tmp_path / "scratch").names == ()
    Path(transport.root, "w").rmdir()  # its disk is not there: it may come back
    with pytest.raises(WorkerError):
        transport.collect(probe, probe.folder / "p", ["r.hdf"], tmp_path / "scratch")


def test_of_two_launches_one_runs_and_a_claim_is_kept(transport: SshTransport, tmp_path: Path, sshd: Sshd):
    probe = attempt(transport, "echo ran >>runs\nprintf '{\"exit_code\": 3}\\n' >exit.json")
    native = transport.launch("a1", probe.folder, "run.sh")
    assert native.isdigit()
    wait_until(lambda: gone(transport, probe), "the script ends")
    transport.launch("a1", probe.folder, "run.sh")
    wait_until(lambda: gone(transport, probe), "the second ends")
    assert Path(probe.folder, "runs").read_text() == "ran\n"
    status = transport.poll([probe])["a1"]
    assert (status.alive, status.exit_code) == (False, 3)
    assert status.seconds is not None
    assert 0 <= status.seconds < 30
    assert not transport.claim(probe.folder)
    other = attempt(transport, name="a2")
    assert transport.claim(other.folder)
    assert transport.claim(other.folder), "a call whose answer was lost is repeated"
    again = make_worker(tmp_path, sshd).transport
    assert not again.claim(other.folder)
    assert again.claim(transport.root / "w" / "never")


def test_stop_ends_the_whole_tree_and_nothing_else(transport: SshTransport):
    """Processes that left the session, ignore signals, or dropped their environment; a neighbour's stay."""
    script = "trap '' TERM HUP INT\nsetsid sleep 871 &\nenv -i sleep 872 &\n(sh -c 'sleep 873 & wait') &\nsleep 874"
    probe, other = attempt(transport, script), attempt(transport, "sleep 875", "a2")
    for one in (probe, other):
        transport.launch(one.attempt, one.folder, "run.sh")

    def sleepers() -> set[str]:
        found = set()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.name() == "sleep" and process.cmdline()[1:2] and process.cmdline()[1].startswith("87"):
                    found.add(process.cmdline()[1])
        return found

    wait_until(lambda: sleepers() == {"871", "872", "873", "874", "875"}, "all run")
    assert transport.poll([probe, other])["a1"].alive
    transport.stop(probe)
    assert sleepers() == {"875"}
    looks = transport.poll([probe, other])
    assert (looks["a1"].alive, looks["a1"].exit_code, looks["a2"].alive) == (False, None, True)
    transport.stop(other)
    assert sleepers() == set()


def test_a_run_whose_script_was_killed_lives_as_long_as_its_engine(transport: SshTransport):
    probe = attempt(transport, "sleep 876")
    native = transport.launch("a1", probe.folder, "run.sh")
    os.kill(int(native), 9)
    wait_until(lambda: not psutil.pid_exists(int(native)), "the script is gone")
    assert transport.poll([probe])["a1"].alive
    transport.stop(probe)
    assert gone(transport, probe)


def test_tails_of_many_attempts_in_one_look(transport: SshTransport):
    probes = []
    for index in range(70):
        folder = transport.root / "w" / f"m{index}"
        path = folder / "p" / "it's.bco"
        probes.append(Probe(f"m{index}", folder, "", (path, folder / "none")))
    Path(probes[3].folder, "p").mkdir(parents=True)
    Path(probes[3].progress_files[0]).write_bytes(b"x" * 9000 + b"\n@end\n\xff\x00tail")
    looks = transport.poll(probes)
    assert len(looks) == 70
    (tail,) = looks["m3"].tails
    assert tail.endswith("\n@end\n\xff\x00tail")
    assert len(tail) == 4096
    assert looks["m69"].tails == ()


def test_eight_threads_share_a_connection_that_is_cut(transport: SshTransport, sshd: Sshd):
    errors: list[Exception] = []

    def work(number: int) -> None:
        path = transport.root / "w" / f"t{number}" / "file"
        try:
            for turn in range(15):
                transport.put([Upload(f"{number}-{turn}".encode() * 2000, path)])
                assert transport.read(path) == f"{number}-{turn}".encode() * 2000
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    sshd.cut()
    for thread in threads:
        thread.join()
    assert errors == []


def test_looks_fail_quickly_while_the_host_is_away_and_work_when_it_is_back(transport: SshTransport, sshd: Sshd):
    probe = attempt(transport, "sleep 877")
    transport.launch("a1", probe.folder, "run.sh")
    sshd.stop()
    for _ in range(3):
        started = time.monotonic()
        with pytest.raises(RasRunnerError, match=r"127\.0\.0\.1"):
            transport.poll([probe])
        assert time.monotonic() - started < 5.0
    sshd.start()

    def back() -> bool:
        with contextlib.suppress(RasRunnerError):
            return transport.poll([probe])["a1"].alive
        return False

    wait_until(back, "it is found again", 20)
    transport.stop(probe)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    needs_mounts()
    mount = tmp_path / "small"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", mount], check=True)
    yield mount
    subprocess.run(["umount", "--lazy", mount], check=True)


@pytest.mark.disk
def test_a_full_disk_is_said_to_be_full(sshd: Sshd, tmp_path: Path, small_disk: Path):
    worker = make_worker(tmp_path, sshd, worker_folder=str(small_disk))
    source = tmp_path / "large"
    source.write_bytes(os.urandom(6 << 20))
    filling = Path(small_disk, "filling")
    for data, filled in ((source, 0), (os.urandom(4 << 20), 0), (os.urandom(100_000), (3 << 20) - 40_000)):
        filling.write_bytes(bytes(filled))
        with pytest.raises(DiskFullError, match=r"disk of the worker folder .* is full"):
            worker.transport.put([Upload(data, worker.transport.root / "store" / "x")])
    assert not list(small_disk.rglob("*.part"))


@pytest.mark.disk
def test_a_full_disk_is_emptied_of_old_inputs_once(sshd: Sshd, tmp_path: Path, small_disk: Path, journal: Journal):
    worker = make_worker(tmp_path, sshd, worker_folder=str(small_disk))
    said: list[str] = []
    stager = Stager(worker, FileHasher(journal), said.append)
    for number, age in enumerate((7200, 0, None)):
        source = tmp_path / str(number)
        source.write_bytes(os.urandom(2 << 20))
        file = StagedFile(PurePosixPath("terrain"), source, Access.READ_ONLY)
        folder = worker.attempt_folder(f"a{number}")
        if age is None:
            with pytest.raises(DiskFullError):  # what was used lately stays
                stager.stage([file], folder, PurePosixPath("p"))
            continue
        assert stager.stage([file], folder, PurePosixPath("p")) == 2 << 20
        worker.transport.remove(folder)
        (stored,) = [path for path in Path(small_disk, "store").rglob("*") if path.is_file()]
        os.utime(stored, (time.time() - age,) * 2)
    assert said == []


def test_the_store_is_trimmed_there(transport: SshTransport, sshd: Sshd, tmp_path: Path):
    """Three thousand files; two controllers at once; one file is marked as used by looking for it."""
    made = []
    for number in range(3000):
        digest = hash_bytes(str(number).encode())
        path = Path(transport.root, "store", digest[:2], digest)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 10)
        os.utime(path, (time.time() - 9000 + number,) * 2)
        made.append(path)
    transport.place([Place(PurePosixPath(made[0]), transport.root / "w" / "a1" / "x", link=True)])
    assert len(transport.stored([PurePosixPath(made[1])])) == 1
    assert made[1].stat().st_mtime < time.time() - 8000
    stale = Path(transport.root, "store", "in.1.part")
    stale.mkdir()
    os.utime(stale, (time.time() - 90000,) * 2)
    others = [transport, make_worker(tmp_path, sshd).transport]
    with ThreadPoolExecutor(2) as pool:
        freed = list(pool.map(lambda one: one.trim(20_000), others))
    assert not stale.exists()
    assert sum(freed) >= 10_000
    gone = {number for number, path in enumerate(made) if not path.exists()}
    assert gone == set(range(2, 1002))
    assert transport.trim(20_000) == 0


def test_store_files_without_hard_links_are_copied(transport: SshTransport, monkeypatch: pytest.MonkeyPatch):
    """As on a file system that has none: tar and ln are refused."""
    monkeypatch.setattr(
        ssh_module.store, "carried", lambda data, program: carried(data, program.replace("tar -xf -", "false"))
    )
    place_each = ssh_store.place_each_program
    monkeypatch.setattr(
        ssh_module.store, "place_each_program", lambda places: place_each(places).replace("ln -f", "false")
    )
    source = transport.root / "store" / "x"
    transport.put([Upload(b"content", source)])
    places = [Place(source, transport.root / "w" / "a1" / name, link) for name, link in (("l", True), ("c", False))]
    for _ in range(2):
        transport.place(places)
    assert all(Path(place.target).read_bytes() == b"content" for place in places)
    assert not any(Path(place.target).samefile(source) for place in places)
    assert transport._no_links


def test_what_is_damaged_on_the_way_is_sent_again(
    transport: SshTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """One byte of the first try of each kind is not what was sent."""
    source, target = tmp_path / "large", transport.root / "store" / "large"
    source.write_bytes(os.urandom(5 << 20))
    small = [Upload(os.urandom(200_000), transport.root / "w" / str(n)) for n in range(3)]
    tries: list[str] = []
    send = transport.connection.send

    def flipped(command: str, data: Iterator[bytes], *, step: str) -> Done:
        tries.append(command)
        pieces = list(data)
        if len(tries) % 2:
            middle = bytearray(pieces[0])
            middle[5000] ^= 1
            pieces[0] = bytes(middle)
        return send(command, iter(pieces), step=step)

    monkeypatch.setattr(transport.connection, "send", flipped)
    transport.put([Upload(source, target, hash_file(source))])
    transport.put(small)
    assert len(tries) == 4
    assert hash_file(Path(target)) == hash_file(source)
    assert [Path(file.target).read_bytes() for file in small] == [file.source for file in small]
    assert not list(Path(transport.root).rglob("*.part"))


def test_processes_carry_the_mark(transport: SshTransport):
    probe = attempt(transport, f'printf %s "${MARK}" >marked')
    transport.launch("a1", probe.folder, "run.sh")
    wait_until(lambda: gone(transport, probe), "it ends")
    assert Path(probe.folder, "marked").read_text() == "a1"
