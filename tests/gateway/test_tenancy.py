"""From a header to a workspace, in every spelling that published clients use."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngpu import tenancy as module
from ngpu.errors import Unauthorized
from ngpu.settings import Workspace
from ngpu.tenancy import Tenancy, credential_of

OPEN, KEYED = "367614711220405248", "000000000000004"
KEYS = ("first-key", "second-key")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def make() -> Tenancy:
    return Tenancy(
        [
            Workspace.model_validate({"id": OPEN, "ports": {8080: 80}}),
            Workspace.model_validate({"id": KEYED, "ports": {8080: 80}, "keys": [digest(key) for key in KEYS]}),
        ]
    )


@pytest.mark.parametrize(
    "form",
    ["Bearer {}", "Bearer ngpu_{}", "ngpu_{}", "{}", "bearer {}", "BEARER  ngpu_{}", "  {}  ", "Bearer   {} "],
)
@pytest.mark.parametrize(("credential", "workspace"), [(OPEN, OPEN), (KEYS[0], KEYED), (KEYS[1], KEYED)])
def test_every_spelling_opens(form: str, credential: str, workspace: str) -> None:
    access = make().open(credential_of(form.format(credential)))
    assert access.workspace.id == workspace
    assert credential not in access.user_key and access.user_key.startswith("key-")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        KEYED,
        f"Bearer {KEYED}",
        "367614711220405249",
        OPEN[:-1],
        OPEN + "0",
        "4",
        f"Basic {OPEN}",
        f"x bearer {OPEN}",
        f"Bearer {OPEN} x",
        f"ngpu_ngpu_{OPEN}",
        f"Bearer Bearer {OPEN}",
        digest(OPEN),
        digest(KEYS[0]),
        "\xff\x00",
    ],
)
def test_nothing_else_opens(header: str) -> None:
    with pytest.raises(Unauthorized):
        make().open(credential_of(header))


def test_a_revoked_key_opens_nothing_and_the_id_does_again() -> None:
    without = Tenancy([Workspace.model_validate({"id": KEYED, "ports": {8080: 80}})])
    with pytest.raises(Unauthorized):
        without.open(KEYS[0])
    assert without.open(KEYED).workspace.id == KEYED


@given(st.text())
def test_whatever_is_sent_is_opened_or_refused(header: str) -> None:
    try:
        access = make().open(credential_of(header))
    except Unauthorized:
        return
    assert access.workspace.id in header or any(key in header for key in KEYS)


def test_the_last_comparison_is_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right or wrong, one comparison of two digests is made, by the function made for it."""
    compared: list[tuple[int, int]] = []

    class Watched:
        @staticmethod
        def compare_digest(one: str, other: str) -> bool:
            compared.append((len(one), len(other)))
            return hmac.compare_digest(one, other)

    monkeypatch.setattr(module, "hmac", Watched)
    tenancy: Any = make()
    tenancy.open(OPEN)
    with pytest.raises(Unauthorized):
        tenancy.open("wrong")
    assert compared == [(64, 64), (64, 64)]
