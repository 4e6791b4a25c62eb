"""Calls of AWS's API: with time limits and retries, all pages, and errors for people."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from ras_runner.workers.aws_errors import action_name, aws_error_types, boto3_module, explained

if TYPE_CHECKING:
    from collections.abc import Callable

#: Of one try of a call, seconds; it is tried so often, with growing pauses, where that does no harm.
_CONNECT_SECONDS, _READ_SECONDS, _TRIES = 10, 30, 4


class AwsCalls:
    """The API in one region. Threads may share it.

    Args:
        region: ``us-east-1``.
        profile: of the user's AWS settings; the usual credentials when empty.
        where: what the calls are about, for messages.

    Raises:
        OperatorError: boto3 is not installed.
        InputError: there is no such profile.
    """

    def __init__(self, region: str, profile: str, where: str) -> None:
        self.region, self.where = region, where
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()
        library = boto3_module()
        self._session = self._guarded(
            "init worker",
            "sts:GetCallerIdentity",
            lambda: library.session.Session(profile_name=profile or None, region_name=region),
        )

    def call(self, service: str, operation: str, *, step: str, absent: str = "", **parameters: Any) -> Any:
        """One call, as boto3's client names it.

        Args:
            service, operation, parameters: as of boto3.
            step: what is being done.
            absent: error code that says that the thing is not there.

        Returns:
            AWS's answer; None when the thing is not there.

        Raises:
            OperatorError, TransientError, InputError: see :func:`ras_runner.workers.aws_errors.explained`.
        """
        client = self.client(service, step)

        def called() -> Any:
            from botocore.exceptions import ClientError

            try:
                return getattr(client, operation)(**parameters)
            except ClientError as error:
                if absent and error.response.get("Error", {}).get("Code") == absent:
                    return None
                raise

        return self._guarded(step, _right(client, service, operation), called)

    def pages(self, service: str, operation: str, key: str, *, step: str, **parameters: Any) -> list[dict[str, Any]]:
        """What all pages of a list have under ``key``."""
        client = self.client(service, step)
        found = client.get_paginator(operation).paginate(**parameters)
        right = _right(client, service, operation)
        things: list[dict[str, Any]] = self._guarded(
            step, right, lambda: [one for page in found for one in page.get(key, ())]
        )
        return things

    def content(self, bucket: str, key: str, limit: int, *, step: str) -> bytes | None:
        """The first ``limit`` bytes of an object; None when it is not there. Raises as :meth:`call`."""
        answer = self.call("s3", "get_object", step=step, absent="NoSuchKey", Bucket=bucket, Key=key)
        if answer is None:
            return None
        with contextlib.closing(answer["Body"]) as body:  # "with body" would give the raw stream, and its errors
            return bytes(self._guarded(step, "s3:GetObject", lambda: body.read(limit)))

    def client(self, service: str, step: str) -> Any:
        """boto3's client of a service, made once."""
        from botocore.config import Config

        how = Config(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": _TRIES},
        )
        with self._lock:  # sessions are not made for threads, clients are
            if service not in self._clients:
                self._clients[service] = self._guarded(step, service, lambda: self._session.client(service, config=how))
            return self._clients[service]

    def _guarded(self, step: str, right: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except aws_error_types() as error:
            raise explained(error, call=right, where=self.where, step=step, region=self.region) from error


def _right(client: Any, service: str, operation: str) -> str:
    return action_name(service, client.meta.method_to_api_mapping[operation])
