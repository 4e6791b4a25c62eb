"""A Dask cluster, as far as attempts need it: submit, ask for many at once, cancel. Every call has a time limit."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ras_runner.errors import OperatorError, RasRunnerError, TransientError
from ras_runner.packages import required

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import ModuleType

#: Seconds for one answer of the scheduler.
ANSWER_SECONDS = 15.0
_AGAIN_SECONDS = 0.01
#: What the scheduler says of a task that has not ended.
_GOES_ON = ("waiting", "queued", "no-worker", "processing")


def distributed_module() -> ModuleType:
    """Dask's distributed; raises OperatorError where it is not installed."""
    return required("distributed", "Dask workers", "dask")


@dataclass(frozen=True, slots=True)
class Tls:
    """Files for TLS; None for a scheduler without.

    Attributes:
        ca: certificate of the authority that signed those of the cluster.
        cert, key: ours, which the scheduler asks for.
    """

    ca: Path
    cert: Path
    key: Path


@dataclass
class Cluster:
    """The way to one scheduler; the connection is made by the first call, and anew when it was lost.

    Args:
        address: ``tcp://host:8786`` or ``tls://host:8786``.
        tls: for ``tls://``.
        resources: what a plan takes of a Dask worker; only workers that have them are meant.
        priority: of our tasks; Dask takes higher ones first.
    """

    address: str
    tls: Tls | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    priority: int = 0

    def __post_init__(self) -> None:
        #: ``distributed.Client``, most of which has no types.
        self._client: Any = None
        self._mutex = threading.Lock()

    def versions(self) -> dict[str, str]:
        """Version of distributed here, on the scheduler and on each of the workers."""
        with self._errors("check versions") as client:
            found = client.get_versions(check=False)
        said = {"this machine": found["client"], "the scheduler": found["scheduler"]}
        said |= {f"worker {name}": packages for name, packages in found["workers"].items()}
        return {who: str((packages or {}).get("packages", {}).get("distributed")) for who, packages in said.items()}

    def workers(self) -> dict[str, dict[str, Any]]:
        """The workers that have our resources, by address: ``nthreads``, ``resources``, ``name``, ``host``."""
        found = self._all_workers("look at workers")
        return {name: worker for name, worker in found.items() if self._fits(worker)}

    def workers_there(self) -> set[str]:
        """Addresses of all workers that the scheduler has now."""
        return set(self._all_workers("poll"))

    def slots(self, workers: Mapping[str, Mapping[str, Any]]) -> int:
        """How many plans these workers run at once: by their threads, and by the resources that a plan takes."""
        return sum(self._slots(worker) for worker in workers.values())

    def ask_workers(
        self, workers: Sequence[str], question: Callable[..., object], *arguments: object, seconds: float | None = None
    ) -> dict[str, Any]:
        """The answer of each worker to a function that it imports by name, in time; an exception where it cannot."""
        limit = {"callback_timeout": seconds} if seconds else {}
        with self._errors("look at workers") as client:
            run = client.run(question, *arguments, workers=list(workers), on_error="return", **limit)
        return dict(run)

    def submit(self, key: str, task: Callable[..., None], *arguments: object) -> None:
        """Hand an attempt over, whether this client lives on or not; the same key again changes nothing."""
        distributed = distributed_module()
        with self._errors("launch") as client:
            future = client.submit(
                task,
                *arguments,
                key=key,
                resources=dict(self.resources) or None,
                priority=self.priority,
                retries=0,
                pure=False,
            )
            distributed.fire_and_forget(future)
            # while the future is held here, the scheduler does not forget it, however soon it ends
            until = time.monotonic() + ANSWER_SECONDS
            while client.sync(client.scheduler.get_task_status, keys=[key])[key] is None:
                if time.monotonic() > until:
                    raise TimeoutError("it does not take the task")
                time.sleep(_AGAIN_SECONDS)
            del future

    def going_on(self, keys: Sequence[str]) -> set[str]:
        """Those that the scheduler has not seen the end of, in one call."""
        with self._errors("poll") as client:
            states = client.sync(client.scheduler.get_task_status, keys=list(keys))
        return {key for key, state in states.items() if state in _GOES_ON}

    def cancel(self, key: str) -> None:
        """Take a task out of the queue. What a worker has begun of it goes on: it is told by a file."""
        distributed = distributed_module()
        with self._errors("stop") as client:
            client.cancel([distributed.Future(key, client)], force=True)

    def close(self) -> None:
        """End the connection; the next call makes a new one."""
        with self._mutex:
            client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):  # of a scheduler that has gone
                client.close(timeout=2)

    def _all_workers(self, step: str) -> dict[str, dict[str, Any]]:
        with self._errors(step) as client:
            found: dict[str, dict[str, Any]] = client.sync(client.scheduler.identity, n_workers=-1)["workers"]
        return found

    def _fits(self, worker: Mapping[str, Any]) -> bool:
        return all(worker.get("resources", {}).get(name, 0) >= wanted for name, wanted in self.resources.items())

    def _slots(self, worker: Mapping[str, Any]) -> int:
        by_resource = (int(worker["resources"][name] // wanted) for name, wanted in self.resources.items())
        return min([int(worker["nthreads"]), *by_resource])

    def _connected(self) -> Any:
        with self._mutex:
            if self._client is None or self._client.status not in ("running", "connecting"):
                self._client = self._connect()
            return self._client

    def _connect(self) -> Any:
        distributed = distributed_module()
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what it says there, our errors say
        security = None
        if self.tls:
            files = {"tls_ca_file": str(self.tls.ca), "tls_client_cert": str(self.tls.cert)}
            security = distributed.Security(require_encryption=True, tls_client_key=str(self.tls.key), **files)
        return _client_type(distributed)(
            self.address,
            timeout=ANSWER_SECONDS,
            security=security,
            set_as_default=False,
            name="ras-runner",
        )

    @contextlib.contextmanager
    def _errors(self, step: str) -> Iterator[Any]:
        try:
            yield self._connected()
        except RasRunnerError:
            raise
        except Exception as error:  # distributed raises OSError, TimeoutError, CommClosedError, TypeError of messages
            self.close()
            raise self._explained(step, error) from error

    def _explained(self, step: str, error: Exception) -> RasRunnerError:
        causes = [str(one) for one in _chain(error)]
        cause = next((text for text in causes if "certificate" in text.lower() or "ssl" in text.lower()), "")
        if cause or isinstance(error, TypeError):
            return OperatorError(
                f"the Dask scheduler refuses the connection: {cause or error}",
                step=step,
                host=self.address,
                action="check scheduler_address (tcp:// or tls://) and tls_ca_file, tls_cert, tls_key",
            )
        said = next((text for text in reversed(causes) if text), type(error).__name__)
        return TransientError(
            f"the Dask scheduler does not answer: {said}",
            step=step,
            host=self.address,
            action="check that the scheduler runs and that scheduler_address is right (tls:// if it has TLS)",
        )


def _client_type(distributed: ModuleType) -> Any:
    """Dask's client, whose calls give up in time: its own wait for ever."""

    class LimitedClient(distributed.Client):  # type: ignore[name-defined, misc]
        def sync(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            kwargs.setdefault("callback_timeout", ANSWER_SECONDS)
            return super().sync(func, *args, **kwargs)

        def __del__(self) -> None:  # after a connection that was never made, Dask's own waits 30 s and prints why
            with contextlib.suppress(Exception):
                self.close(timeout=2)

    return LimitedClient


def _chain(error: BaseException) -> Iterator[BaseException]:
    step: BaseException | None = error
    while step is not None:
        yield step
        step = step.__cause__ or step.__context__
