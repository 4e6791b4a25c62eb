"""Bursts: machines of a cloud for one campaign, made before it and taken down after it, whatever happens."""

from __future__ import annotations

import contextlib
import json
import math
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ras_runner import oscalls
from ras_runner.errors import OperatorError, RasRunnerError
from ras_runner.fleet.burst_life import BurstLife, Tempo, make_cloud, seen_machines
from ras_runner.fleet.burst_money import Account, check_affordable, estimated
from ras_runner.fleet.burst_order import BurstOrder, make_order
from ras_runner.fleet.burst_record import BurstFolder, BurstRecord, State, burst_folder
from ras_runner.fleet.burst_signals import ended_by_signals, patient
from ras_runner.fleet.burst_watch import Watchman
from ras_runner.fleet.terraform import find_program

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from ras_runner.fleet.burst_cloud import BurstCloud, Place
    from ras_runner.fleet.burst_record import MachineTime
    from ras_runner.fleet.cost import Estimate, Work
    from ras_runner.workers.group import AnyWorker, WorkerGroup


@dataclass(frozen=True)
class Prospect:
    """A burst that was checked as far as that goes before it is bought.

    Attributes:
        order: what was asked.
        cloud: where.
        place: what the cloud said.
        estimate: what it will cost.
        account: counts what it does cost.
    """

    order: BurstOrder
    cloud: BurstCloud
    place: Place
    estimate: Estimate
    account: Account


def prospect(
    order: BurstOrder, state_dir: Path, *, attended: bool, work: Work | None = None, out_gb: float = 0.0
) -> Prospect:
    """Check everything that can be checked before anything is bought: Terraform, credentials, network, types, cost.

    Args:
        order: what is asked.
        state_dir: the state folder.
        attended: a controller watches the cost and takes it down.
        work: what is to be computed; known when None from ``plans`` and ``hours_per_plan`` of the order, or not at all.
        out_gb: what goes out of the cloud, GB.

    Raises:
        InputError, OperatorError, TransientError: says what is wrong; nothing was bought.
    """
    from ras_runner.fleet.cost import stated_work
    from ras_runner.fleet.prices import load_prices

    _need_packages()
    find_program()
    cloud = make_cloud(order.cloud, order.region, order.profile)
    place = cloud.check(order)
    if work is None and order.plans and order.hours_per_plan:
        work = stated_work(order.plans, order.hours_per_plan)
    prices = load_prices(order.prices, state_dir)
    found = estimated(order, place, work, out_gb, prices)
    check_affordable(found, order.max_cost, attended=attended)
    return Prospect(order, cloud, place, found, Account(prices, Tempo.from_environment().stop))


def _need_packages() -> None:
    """Raise OperatorError now for what the burst's machines would be reached with later."""
    from ras_runner.transports import docker_api  # noqa: F401  says how to install the SDK
    from ras_runner.transports.ssh_login import asyncssh_module

    asyncssh_module()


def begin(asked: Prospect, state_dir: Path, say: Callable[[str], None], *, attended: bool) -> BurstLife:
    """Write a burst down, make it, and leave it without machines. The caller has its lock until its process ends.

    Raises:
        OperatorError: it could not be made; what was made is removed again, or the message says what is left.
    """
    from ras_runner.workers.base import this_owner

    order, now = asked.order, time.time()
    name = f"burst-{time.strftime('%Y%m%d-%H%M', time.gmtime(now))}-{secrets.token_hex(2)}"
    parameters = order.model_dump(mode="json")
    parameters["stored_gb"] = order.image_archive.expanduser().stat().st_size / 1e9
    if order.prices is not None:  # it is read again by commands that are given elsewhere
        parameters["prices"] = str(order.prices.expanduser().absolute())
    record = BurstRecord(
        name,
        order.cloud,
        order.region,
        f"{name}-{secrets.token_hex(8)}",
        this_owner(),
        now,
        now + order.ttl,
        str(order.max_cost),
        list(asked.place.machine_types),
        order.workers,
        attended,
        parameters=parameters,
    )
    folder = BurstFolder(state_dir.absolute() / "bursts" / name)
    folder.write(record)
    take_in_hand(folder)
    life = BurstLife(folder, record, asked.cloud, say, Tempo.from_environment())
    say(f"burst {name}: its machines end by {record.expires} at the latest")
    try:
        life.make(_variables(asked, record, _key(folder.path)), order.image_archive.expanduser())
    except BaseException:
        let_go(folder)
        raise
    return life


#: Locks of the bursts that this process has in hand; the operating system frees them when it ends, however it ends.
_IN_HAND: dict[Path, contextlib.ExitStack] = {}
_LOOKED_AT = 0.5


def take_in_hand(folder: BurstFolder) -> None:
    """Take the lock of a burst.

    Raises:
        OperatorError: another process has it in hand.
    """
    if folder.path in _IN_HAND:
        return
    held = contextlib.ExitStack()
    try:  # a command that only looks has it for an instant
        held.enter_context(folder.lock.held(_LOOKED_AT))
    except TimeoutError:
        raise OperatorError(
            f"burst {folder.path.name} is in the hands of another ras-runner",
            step="take burst in hand",
            action="let it end, or end it (Ctrl-C): it takes its burst down itself",
        ) from None
    _IN_HAND[folder.path] = held


def let_go(folder: BurstFolder) -> None:
    """Give the lock of a burst back."""
    if (held := _IN_HAND.pop(folder.path, None)) is not None:
        held.close()


def open_burst(state_dir: Path, burst: str, say: Callable[[str], None]) -> BurstLife:
    """A burst that an earlier controller has left, in the hands of this process now.

    Raises:
        InputError: there is no such burst.
        OperatorError: another process has it in hand.
    """
    folder = burst_folder(state_dir.absolute(), burst)
    take_in_hand(folder)
    record = folder.read()
    cloud = make_cloud(record.cloud, record.region, str(record.parameters.get("profile", "")))
    return BurstLife(folder, record, cloud, say, Tempo.from_environment())


def make_group(life: BurstLife) -> AnyWorker:
    """The burst's machines as a group of workers. Raises as ``init_ras_worker`` does."""
    from ras_runner.workers.registry import make_any_worker

    return make_any_worker(*_group(life))


def _group(life: BurstLife) -> tuple[str, dict[str, Any]]:
    kind, parameters = life.cloud.group(life.record, life.folder.path / "key")
    return kind, {**parameters, "look_seconds": life.tempo.look}


def bring_up(asked: Prospect, state_dir: Path, say: Callable[[str], None]) -> Path:
    """Make a burst with all of its machines, and leave it.

    Returns:
        The workers file that names it, for ``ras-runner execute -i``.

    Raises:
        OperatorError, TransientError: it could not be made; nothing is left, or the message says what.
    """
    with ended_by_signals():
        life = begin(asked, state_dir, say, attended=False)
        try:
            say(f"asking for {asked.order.workers} machines")
            life.cloud.scale(life.record, asked.order.workers)
            kind, parameters = _group(life)
            name = str(parameters.pop("worker_id"))
            worker = {"name": name, "type": kind, "parameters": parameters}
            path = life.folder.path / "workers.json"
            oscalls.write_whole(path, json.dumps({"schema_version": 1, "workers": [worker]}, indent=1))
        except BaseException:
            life.down()
            raise
        finally:
            let_go(life.folder)
    return path


def look(record: BurstRecord) -> dict[str, MachineTime]:
    """Bring a record, of whatever process's burst, up to date on the machines; it is not written.

    Raises:
        InputError, OperatorError, TransientError: the cloud could not be asked.
    """
    cloud = make_cloud(record.cloud, record.region, str(record.parameters.get("profile", "")))
    record.machines = seen_machines(record.machines, cloud.machines(record), time.time())
    return record.machines


def take_down(life: BurstLife, watchman: Watchman) -> None:
    """Take a burst down, write what it has cost into the journal of its campaigns, and let go of it.

    Raises:
        OperatorError: something is left; says what, and what ends by itself when.
    """
    with patient(life.say):  # from here on: Ctrl-C before the first destroy must not skip it
        try:
            watchman.dismiss()
            with contextlib.suppress(Exception):  # the record has what was seen before
                life.look()
            life.down()
        finally:
            with contextlib.suppress(RasRunnerError):  # whether the burst is down is what counts now
                watchman.record(final=life.record.state is State.DOWN)
            let_go(life.folder)


def _key(folder: Path) -> str:
    """A key pair for this burst alone; the public half."""
    from ras_runner.transports.ssh_login import asyncssh_module

    key = asyncssh_module().generate_private_key("ssh-ed25519", comment=f"ras-runner {folder.name}")
    private = folder / "key"
    private.touch(mode=0o600)
    key.write_private_key(str(private))
    return str(key.export_public_key("openssh").decode("ascii").strip())


def _variables(asked: Prospect, record: BurstRecord, public_key: str) -> dict[str, Any]:
    """Variables of the Terraform root; no secrets."""
    order = asked.order
    both = {
        "name": record.id,
        "campaign": record.id,
        "owner": record.owner,
        "launch_token": record.launch_token,
        "expires_at": record.expires,
        "max_hours": max(1, math.ceil(order.ttl / 3600)),
        "idle_minutes": order.idle_minutes,
        "workers": 0,
        "max_workers": order.workers,
        "on_demand_base": order.on_demand,
        "machine_image": order.machine_image,
        "disk_gib": order.disk_gib,
        "public_ip": order.public_ip,
        "access_cidrs": list(asked.place.access_cidrs),
        "allow_access_from_anywhere": order.allow_access_from_anywhere,
        "ssh_public_key": public_key,
        "docker_image": order.docker_image,
        "cores_per_plan": order.cores_per_plan,
        "queue_priority": order.queue_priority,
    }
    return {**both, **asked.place.variables}


class Burst:
    """Machines of a cloud for as long as a ``with`` block lasts::

        with Burst("aws", region="us-east-1", workers=4, ttl="2h", max_cost=10, docker_image="hecras:6.6",
                   version="6.6", image_archive="worker.tar.gz") as workers:
            compute_parallel_remote("all", workers)

    Everything is taken down when the block ends, also by an exception, Ctrl-C or SIGTERM. Machines come when a campaign
    has plans for them, and end by themselves at their time to live whatever becomes of this process. At ``max_cost`` or
    shortly before the time to live campaigns are stopped in an orderly way: what is computed is collected.

    Args:
        cloud: ``aws``.
        state_dir: state folder, the same as of the campaigns; the user's when left out.
        say: takes a line of text when something happens.
        parameters: see :class:`ras_runner.fleet.burst_order.BurstOrder`.

    Raises:
        InputError: a parameter is wrong.
    """

    def __init__(
        self,
        cloud: str,
        *,
        state_dir: str | Path | None = None,
        say: Callable[[str], None] | None = None,
        **parameters: Any,
    ) -> None:
        from ras_runner.campaign.journal import default_state_dir

        self.order = make_order({"cloud": cloud, **parameters})
        self.state_dir = Path(state_dir) if state_dir else default_state_dir()
        self._say = say or (lambda line: None)
        self._asked: Prospect | None = None
        self._life: BurstLife | None = None
        self._watchman: Watchman | None = None
        self._exit = contextlib.ExitStack()

    def check(self, work: Work | None = None, out_gb: float = 0.0) -> Estimate:
        """Check all that can be checked without buying anything; what it will cost.

        Raises:
            InputError, OperatorError, TransientError: says what is wrong.
        """
        self._asked = prospect(self.order, self.state_dir, attended=True, work=work, out_gb=out_gb)
        return self._asked.estimate

    def planned_group(self) -> WorkerGroup:
        """What plans need to know of its machines before there is anything of them. Nothing is asked or bought."""
        return make_cloud(self.order.cloud, self.order.region, self.order.profile).planned(self.order)

    @property
    def account(self) -> str:
        """Who pays, in words; empty before :meth:`check`."""
        return self._asked.place.account if self._asked else ""

    def note_campaign(self, campaign: str) -> None:
        """Write down which campaign it is for: while that is not over, ``burst sweep`` leaves its machines alone."""
        if self._life is not None:
            self._life.record.campaign = campaign
            self._life.note(self._life.record.state)

    @property
    def id(self) -> str:
        """Its name; empty before it is begun."""
        return self._life.record.id if self._life else ""

    @property
    def stopped(self) -> str:
        """Why it was stopped before its plans were done; empty when it was not."""
        return self._watchman.stopped if self._watchman else ""

    def __enter__(self) -> list[AnyWorker]:
        """Make it.

        Returns:
            The workers: one group, whose machines come when there is work.

        Raises:
            InputError, OperatorError, TransientError: it could not be made; nothing is left, or the message says what.
        """
        from ras_runner.campaign.journal import Journal

        if self._asked is None:
            self.check()
        assert self._asked is not None  # noqa: S101  check has set it
        self._exit.enter_context(ended_by_signals())
        try:
            journal = Journal(self.state_dir)
            self._exit.callback(journal.close)
            life = begin(self._asked, self.state_dir, self._say, attended=True)
            self._life, self._watchman = life, Watchman(life, self._asked.account, journal)
            self._watchman.start()
            group = make_group(life)
        except BaseException:
            self._end()
            raise
        return [group]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take it down.

        Raises:
            OperatorError: something is left; says what, and what ends by itself when.
        """
        self._end()

    def _end(self) -> None:
        with self._exit:
            if self._life is not None and self._watchman is not None:
                take_down(self._life, self._watchman)
