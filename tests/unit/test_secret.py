"""Secrets by reference: read from where the reference says, and never repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from ras_runner.errors import InputError, OperatorError
from ras_runner.secret import resolve_secret

keyring = pytest.importorskip(
    "keyring", reason="the extra keyring is not installed on the Windows machine of the tests"
)
pytest.importorskip("keyring.errors")
MARKED = "correct horse battery staple"


class Store(keyring.backend.KeyringBackend):
    """A credential store in memory; ``locked`` refuses."""

    priority = 1
    locked = False

    def __init__(self) -> None:
        super().__init__()
        self.entries = {("ras", "modeller"): MARKED}

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise keyring.errors.KeyringLocked("it is locked")
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password


@pytest.fixture
def store() -> Store:
    before, made = keyring.get_keyring(), Store()
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


def test_each_kind_of_reference(store: Store, tmp_path: Path, monkeypatch):
    (tmp_path / "secret").write_text(f"{MARKED}\nanother line\n", encoding="utf-8")
    monkeypatch.setenv("RAS_TEST_SECRET", MARKED)
    for reference in ("env:RAS_TEST_SECRET", f"file:{tmp_path / 'secret'}", "keyring:ras/modeller"):
        secret = resolve_secret(reference)
        assert secret.get_secret_value() == MARKED
        assert MARKED not in repr(secret) + str(secret)


@pytest.mark.parametrize("reference", [MARKED, "env:", "keyring:nobody", "vault:x", ""])
def test_what_is_no_reference_is_refused_and_not_repeated(reference: str):
    with pytest.raises(InputError) as refused:
        resolve_secret(reference)
    assert MARKED not in str(refused.value)


@pytest.mark.parametrize("reference", ["env:RAS_TEST_NOT_SET", "file:/nowhere/at/all", "keyring:ras/nobody"])
def test_a_secret_that_is_not_there_says_what_to_do(store: Store, reference: str):
    with pytest.raises(OperatorError, match="next: "):
        resolve_secret(reference)


def test_a_locked_store_says_so(store: Store):
    store.locked = True
    with pytest.raises(OperatorError, match="cannot be read: it is locked"):
        resolve_secret("keyring:ras/modeller")
