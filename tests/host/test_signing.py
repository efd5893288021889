"""Signatures by ssh-keygen: the right key over the right bytes, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollback.host.clock import Clock, iso, parse_iso
from rollback.host.signing import sign, verified
from rollback.model.errors import NotAuthorized
from tests.systems import make_key

SPACE = "rollback-approval-v1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the keys of this module are."""
    return tmp_path_factory.mktemp("keys")


def test_only_the_key_the_person_the_bytes_and_the_purpose_together_verify(folder: Path) -> None:
    """Each of them changed: no."""
    file, public = make_key(folder, "ada")
    _, other = make_key(folder, "bo")
    made = sign(b"yes", str(file), namespace=SPACE)
    assert verified(b"yes", made, public, "ada", namespace=SPACE)
    assert not verified(b"yes!", made, public, "ada", namespace=SPACE)
    assert not verified(b"yes", made, other, "ada", namespace=SPACE)
    assert not verified(b"yes", made, public, "ada", namespace="rollback-trust-v1")


@pytest.mark.parametrize("signature", ["", "x", "ünï", "\ud800", "-----BEGIN SSH SIGNATURE-----\n"])
def test_what_is_no_signature_does_not_verify(signature: str, folder: Path) -> None:
    """And raises nothing."""
    assert not verified(b"yes", signature, "ssh-ed25519 AAAA", "ada", namespace=SPACE)


def test_a_declared_key_cannot_bring_a_second_signer_with_it(folder: Path) -> None:
    """One line is one key."""
    file, public = make_key(folder, "eve")
    made = sign(b"yes", str(file), namespace=SPACE)
    assert not verified(b"yes", made, f"ssh-ed25519 AAAA\nada {public}", "ada", namespace=SPACE)


def test_a_key_that_cannot_sign_says_why(folder: Path) -> None:
    """Absent, no key, locked by a passphrase: one line, at once, no prompt."""
    import subprocess

    with pytest.raises(NotAuthorized, match="no such key file"):
        sign(b"x", str(folder / "absent"), namespace=SPACE)
    (folder / "text").write_text("no key")
    (folder / "text").chmod(0o600)
    with pytest.raises(NotAuthorized, match="does not sign"):
        sign(b"x", str(folder / "text"), namespace=SPACE)
    locked = folder / "locked"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(locked)], check=True
    )
    with pytest.raises(NotAuthorized, match="does not sign"):
        sign(b"x", str(locked), namespace=SPACE)


def test_times_are_utc_and_carry_their_offset() -> None:
    """What is written is read back; a naive time is no time."""
    now = Clock().now()
    assert parse_iso(iso(now)) == now
    assert iso(parse_iso("2026-03-29T02:30:00+02:00")) == "2026-03-29T00:30:00.000000Z"
    for wrong in ("2026-11-20T12:00:00", "2024-02-30T00:00:00Z", "yesterday", ""):
        with pytest.raises(ValueError):  # noqa: PT011
            parse_iso(wrong)


def test_polling_ends_with_the_first_true_answer_or_the_last_one() -> None:
    """At least one question is asked, however little time there is."""
    asked: list[int] = []

    def ask() -> bool:
        asked.append(1)
        return len(asked) >= 3

    assert Clock().poll(ask, within_s=5, every_s=0.001) is True
    assert len(asked) == 3
    assert Clock().poll(lambda: 0, within_s=0) == 0
    assert Clock().poll(lambda: "", within_s=0.02, every_s=0.01) == ""
