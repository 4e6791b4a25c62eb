"""Object storage below one URL, by fsspec: contents by their digest, and small objects beside them."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from ras_runner.errors import InputError, OperatorError, RasRunnerError, TransientError
from ras_runner.hashing import SourceChangedError, hash_file, unreadable
from ras_runner.packages import required
from ras_runner.retrying import retrying

Result = TypeVar("Result")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

_AT_ONCE = 8
#: Where fsspec's packages say when an object came; what has another name counts as new.
_TIMES = ("LastModified", "last_modified", "mtime", "updated", "timeCreated")


class WrongContentError(TransientError):
    """An object is not what its digest says."""


class Storage:
    """A prefix of object storage. The protocol's package takes its credentials from where its cloud's programs do.

    Args:
        url: any fsspec URL.

    Raises (each call):
        InputError: fsspec does not know the protocol.
        OperatorError: the protocol's package is not installed, there are no credentials, or no right.
        TransientError: anything else that the storage says; calls that may be repeated were.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._mutex = threading.Lock()
        self._opened: tuple[Any, str] | None = None

    def read(self, name: str, step: str = "read", start: int | None = 0) -> bytes | None:
        """An object from byte ``start``; None when there is none.

        With a start it is one request, which an object that ends there refuses; else some protocols ask for the size
        first.
        """

        def read() -> bytes | None:
            with self._errors(step) as (files, root):
                try:
                    return bytes(files.cat_file(f"{root}/{name}", start=start))
                except FileNotFoundError:
                    return None

        return _repeated(read)

    def read_all(self, names: Iterable[str], step: str) -> dict[str, bytes]:
        """Those of many small objects that exist, read at the same time."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            wanted = list(names)
            found = zip(wanted, pool.map(lambda name: self.read(name, step), wanted), strict=True)
            return {name: data for name, data in found if data is not None}

    def sizes(self, names: Iterable[str], step: str = "stage") -> dict[str, int]:
        """Bytes of those of many objects that exist, asked at the same time."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            wanted = list(names)
            found = zip(wanted, pool.map(lambda name: self._size(name, step), wanted), strict=True)
            return {name: size for name, size in found if size is not None}

    def write(self, name: str, data: bytes, step: str) -> None:
        """Write an object, whole or not at all; one of this name is replaced."""

        def write() -> None:
            with self._errors(step, writes=True) as (files, root):
                files.pipe_file(f"{root}/{name}", data)

        _repeated(write)

    def create(self, name: str, data: bytes, step: str) -> bool:
        """Write an object unless there is one of this name, in one act of the storage where it has one; False then.

        Not repeated: after an answer that was lost, the object there may be this one.
        """
        with self._errors(step, writes=True) as (files, root):
            try:
                if _is_local(files):  # whose own way looks first, and writes then
                    with files.open(f"{root}/{name}", "xb") as out:
                        out.write(data)
                else:
                    files.pipe_file(f"{root}/{name}", data, mode="create")
            except FileExistsError:
                return False
        return True

    def upload(self, source: Path, name: str, step: str, digest: str = "") -> str:
        """Bring a file here, verified: its digest before, its time of change and the object's size after.

        Returns:
            Its digest.

        Raises:
            SourceChangedError: it does not have the ``digest``, or was changed meanwhile.
            InputError: it cannot be read.
        """
        try:
            before, found = source.stat(), hash_file(source)
        except OSError as error:
            raise unreadable(source, error) from error
        if digest and found != digest:
            raise SourceChangedError(source)

        def upload() -> None:
            with self._errors(step, writes=True) as (files, root):
                files.put_file(str(source), f"{root}/{name}")

        _repeated(upload, within=None)
        after = source.stat()
        if (after.st_mtime_ns, after.st_size) != (before.st_mtime_ns, before.st_size):
            self.remove(name)
            raise SourceChangedError(source)
        if (size := self._size(name, step)) != before.st_size:
            raise TransientError(f"{self.url}/{name} has {size} bytes, not {before.st_size}", step=step)
        return found

    def fetch(
        self, name: str, target: Path, digest: str, step: str, finish: Callable[[Path], None] | None = None
    ) -> None:
        """Bring an object to this machine, verified by its digest, and ``finish`` it, before it gets its name.

        Raises:
            FileNotFoundError: there is none.
            WrongContentError: it is there, and has another digest, however often it is read.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}.part")

        def fetch() -> None:
            with self._errors(step) as (files, root):
                files.get_file(f"{root}/{name}", str(temporary))
            if hash_file(temporary) != digest:
                raise WrongContentError(f"{self.url}/{name} does not have the digest {digest}", step=step)

        try:
            _repeated(fetch, within=None)
            if finish:
                finish(temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def names(self, prefix: str, step: str) -> dict[str, float]:
        """All objects below a prefix: name -> seconds since it came, by this machine's clock."""
        with self._errors(step) as (files, root):
            try:
                found: Mapping[str, Mapping[str, Any]] = files.find(f"{root}/{prefix}", detail=True)
            except FileNotFoundError:
                return {}
        start = len(root) + 1
        return {path[start:]: _age(info) for path, info in found.items() if info.get("type") == "file"}

    def remove(self, name: str, *, tree: bool = False) -> None:
        """Remove an object, or all below a prefix; nothing happens when there is none."""

        def remove() -> None:
            with self._errors("clean") as (files, root), contextlib.suppress(FileNotFoundError):
                files.rm(f"{root}/{name}", recursive=True) if tree else files.rm_file(f"{root}/{name}")

        _repeated(remove)

    def _size(self, name: str, step: str) -> int | None:
        def size() -> int | None:
            with self._errors(step) as (files, root):
                try:
                    info = files.info(f"{root}/{name}")
                except FileNotFoundError:
                    return None
            return int(info["size"]) if info["type"] == "file" else None

        return _repeated(size)

    def _files(self) -> tuple[Any, str]:
        with self._mutex:
            if self._opened is None:
                fsspec = required("fsspec", "Dask workers with storage_url", "dask")
                # others change what is there: nothing of a listing is remembered
                files, root = fsspec.core.url_to_fs(self.url, use_listings_cache=False, skip_instance_cache=True)
                if _is_local(files):
                    files.auto_mkdir = True
                self._opened = files, root.rstrip("/")
            return self._opened

    @contextlib.contextmanager
    def _errors(self, step: str, *, writes: bool = False) -> Iterator[tuple[Any, str]]:
        try:
            yield self._files()
        except RasRunnerError:
            raise
        except FileNotFoundError as error:
            if not writes:
                raise
            raise OperatorError(
                f"{self.url} cannot be written to: {error}",
                step=step,
                action="make the bucket (ras-runner makes none), or correct storage_url",
            ) from error
        except Exception as error:  # each protocol's package has errors of its own
            raise self._explained(error, step) from error

    def _explained(self, error: Exception, step: str) -> RasRunnerError:
        said = f"{self.url}: {' '.join(str(error).split()) or type(error).__name__}"
        if isinstance(error, ImportError):
            return OperatorError(
                said, step=step, action=f"install it in the Python that runs here: {_package(self.url)}"
            )
        if isinstance(error, ValueError) and "rotocol not known" in str(error):
            return InputError(said, step=step, action="give a storage_url such as s3://, gs://, az:// or file://")
        if isinstance(error, PermissionError) or "redentials" in type(error).__name__ + str(error):
            return OperatorError(
                said,
                step=step,
                action="give this machine credentials that may list, read, write and delete there (those that the "
                "cloud's own programs find: environment, profile, role)",
            )
        return TransientError(said, step=step, action="check that the storage and its bucket can be reached")


def _repeated(call: Callable[[], Result], within: float | None = 45.0) -> Result:
    """What a storage refuses now, it may do in a moment."""
    return retrying(call, TransientError, attempts=4, first=0.2, longest=5.0, within=within)


def _is_local(files: Any) -> bool:
    return "file" in (files.protocol if isinstance(files.protocol, tuple) else (files.protocol,))


def _package(url: str) -> str:
    named = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
    package = named.get(url.partition(":")[0])
    return f"pip install {package}" if package else "see the page of fsspec on this protocol"


def _age(info: Mapping[str, Any]) -> float:
    came = next((info[name] for name in _TIMES if info.get(name)), None)
    if isinstance(came, str):
        try:
            came = datetime.fromisoformat(came)
        except ValueError:
            came = None
    if isinstance(came, datetime):
        came = came.replace(tzinfo=came.tzinfo or UTC).timestamp()
    return time.time() - came if isinstance(came, int | float) else 0.0
