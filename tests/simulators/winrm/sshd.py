"""OpenSSH on Windows, as far as it is needed: an SSH server by asyncssh, for commands and SFTP of a simulated host."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
from tests.simulators.winrm.wsman import Execute


class Files(asyncssh.SFTPServer):
    """The Windows machine's drive Z: is this machine's root."""

    def map_path(self, path: bytes) -> bytes:
        """``/Z:/tmp`` is ``/tmp``; there is no other drive."""
        if not path.startswith(b"/Z:/"):
            raise asyncssh.SFTPNoSuchFile(f"no such drive: {path!r}")
        return path.removeprefix(b"/Z:")


@dataclass
class SshServer:
    """A server on a loopback port.

    Args:
        folder: where its keys are written.
        execute: runs commands.
        sftp: whether it takes files.

    Attributes:
        key: private key that it accepts.
        known_hosts: has its host key.
    """

    folder: Path
    execute: Execute
    sftp: bool = True

    def __post_init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.folder.mkdir(parents=True, exist_ok=True)
        ours, host = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
        self.key, self.known_hosts = self.folder / "key", self.folder / "known_hosts"
        accepted = self.folder / "accepted"
        ours.write_private_key(self.key)
        self.key.chmod(0o600)
        ours.write_public_key(accepted)
        self._server = self._do(self._listen(host, accepted))
        self.port = self._server.get_port()
        public = host.export_public_key().decode().strip()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {public}\n", encoding="ascii")

    def stop(self) -> None:
        """Close it and its connections."""
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self, host: asyncssh.SSHKey, accepted: Path) -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[host],
            authorized_client_keys=str(accepted),
            process_factory=self._process,
            sftp_factory=Files if self.sftp else None,
            encoding=None,
        )

    async def _close(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _process(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        stdin = await process.stdin.read()
        user = process.get_extra_info("username")
        done = await asyncio.to_thread(self.execute, process.command or "", stdin, user)
        process.stdout.write(done.stdout)
        process.stderr.write(done.stderr)
        process.exit(done.code)
