"""Looks that several worker types share."""

from __future__ import annotations

import socket

from ras_runner.fleet.doctor import Check, Finding, Verdict

#: A port that has not answered after so many seconds does not answer.
CONNECT_SECONDS = 4.0
#: Below this, a few plans fill the disk, bytes.
_LOW_DISK = 20 << 30
_NO_DISK = 1 << 30
#: Clocks that differ by more are worth a word: results are judged by the worker's own clock, people by theirs. Seconds.
_SKEW = 60.0


def reach_checks(host: str, port: int, service: str, requirement: str = "port-open") -> list[Check]:
    """The name resolves, and a port answers.

    Args:
        host: name or address.
        port: TCP port.
        service: what should answer there.
        requirement: what the port's answer shows to be met.
    """
    return [
        Check("name-resolves", lambda: resolves(host, port)),
        Check(requirement, lambda: answers(host, port, service), ("name-resolves",)),
    ]


def resolves(host: str, port: int) -> Finding:
    """Whether a name has an address."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return Finding(Verdict.FAILED, f"{host} does not resolve: {getattr(error, 'strerror', None) or error}")
    return Finding(Verdict.OK, ", ".join(dict.fromkeys(str(item[4][0]) for item in found)))


def answers(host: str, port: int, service: str) -> Finding:
    """Whether a port takes connections."""
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except TimeoutError:
        return Finding(
            Verdict.FAILED,
            f"port {port} ({service}) did not answer within {CONNECT_SECONDS:.0f} s: the machine is off, "
            "or a firewall drops what comes",
        )
    except OSError as error:
        return Finding(Verdict.FAILED, f"port {port} ({service}): {error.strerror or error}")
    return Finding(Verdict.OK, f"port {port} ({service}) takes connections")


def disk(free: int, folder: object) -> Finding:
    """Whether there is room for workspaces.

    Args:
        free: bytes that a user may write.
        folder: the worker folder.
    """
    evidence = f"{free / 1e9:.1f} GB free for {folder}"
    verdict = Verdict.FAILED if free < _NO_DISK else Verdict.WARNING if free < _LOW_DISK else Verdict.OK
    return Finding(verdict, evidence)


def skew(ahead: float, round_trip: float) -> Finding:
    """Whether two clocks agree.

    Args:
        ahead: how far the worker's clock is ahead of ours, seconds.
        round_trip: of the question, seconds: the answer may be off by as much.
    """
    off = max(0.0, abs(ahead) - round_trip)
    if off > _SKEW:
        way = "ahead of" if ahead > 0 else "behind"
        return Finding(Verdict.WARNING, f"its clock is {off:.0f} s {way} ours")
    return Finding(Verdict.OK, "the clocks agree within a minute")


def cores(found: int, wanted: int) -> Finding:
    """Whether the machine has the cores that plans are to use."""
    if wanted > found:
        return Finding(Verdict.WARNING, f"cores_total is {wanted}, and the machine has {found}")
    return Finding(Verdict.OK, f"{found} cores, of which plans use {wanted}")
