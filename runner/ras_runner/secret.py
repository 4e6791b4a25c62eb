"""Secrets by reference: ``env:NAME``, ``file:path``, ``keyring:service/user``. Only the reference is ever stored."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ras_runner.errors import InputError, OperatorError

if TYPE_CHECKING:
    from pydantic import SecretStr

_STEP = "read secret"


def check_reference(reference: str) -> str:
    """``reference``, when it is one.

    Raises:
        ValueError: it is not; the message does not repeat it, as it may be the secret itself.
    """
    kind, colon, rest = reference.partition(":")
    if not colon or not rest or kind not in _READERS or (kind == "keyring" and "/" not in rest.strip("/")):
        raise ValueError("give a reference, not the secret: env:NAME, file:path or keyring:service/user")
    return reference


def resolve_secret(reference: str) -> SecretStr:
    """The secret that a reference names, read now.

    Args:
        reference: ``env:NAME`` (environment variable), ``file:path`` (first line of a file), ``keyring:service/user``
            (the operating system's credential store).

    Raises:
        InputError: it is not a reference.
        OperatorError: there is no such secret.
    """
    from pydantic import SecretStr

    try:
        kind, _, rest = check_reference(reference).partition(":")
    except ValueError as error:
        raise InputError("a secret is not given by reference", step=_STEP, action=str(error)) from None
    value = _READERS[kind](rest)
    if not value:
        raise OperatorError(f"{reference} is empty", step=_STEP, action="store the secret there")
    return SecretStr(value)


def _from_environment(name: str) -> str:
    if name not in os.environ:
        raise OperatorError(f"the environment variable {name} is not set", step=_STEP, action=f"set {name}")
    return os.environ[name]


def _from_file(name: str) -> str:
    path = Path(name).expanduser()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(
            f"the secret file {path} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}",
            step=_STEP,
            action="check the path and its rights",
        ) from None
    return lines[0] if lines else ""


def _from_keyring(name: str) -> str:
    try:
        import keyring
        import keyring.errors
    except ModuleNotFoundError as error:
        if error.name != "keyring":
            raise
        raise OperatorError(
            "keyring: references need the package keyring", step=_STEP, action="pip install ras-runner[keyring]"
        ) from None
    service, _, user = name.rpartition("/")
    try:
        value = keyring.get_password(service, user)
    except keyring.errors.KeyringError as error:
        raise OperatorError(
            f"the credential store cannot be read: {error}", step=_STEP, action="unlock it, or use env: or file:"
        ) from None
    if value is None:
        raise OperatorError(
            f"the credential store has no entry for service {service!r}, user {user!r}",
            step=_STEP,
            action=f"keyring set {service} {user}",
        )
    return value


_READERS = {"env": _from_environment, "file": _from_file, "keyring": _from_keyring}
