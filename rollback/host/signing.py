"""Signatures by `ssh-keygen -Y`: no key ever enters this process.

Hides: temporary files and the program's arguments.
Never: decides what is signed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from rollback.host.processes import Completed, base_environment, run
from rollback.model.errors import CommandFailed, NotAuthorized

_TIMEOUT_S = 10.0
_PROGRAM = "ssh-keygen"


def sign(data: bytes, key: str, *, namespace: str) -> str:
    """The armoured signature of `data` with the private key file. Raises: NotAuthorized."""
    if not Path(key).is_file():
        raise NotAuthorized(
            "there is no such key file", where=key, hint="name your private key: --key FILE"
        )
    with tempfile.TemporaryDirectory(prefix="rollback-sign-") as folder:
        message = Path(folder, "message")
        message.write_bytes(data)
        argv = [
            _PROGRAM, "-Y", "sign", "-q", "-f", str(Path(key).resolve()), "-n", namespace,
            str(message),
        ]  # fmt: skip
        done = _run(argv, folder)
        if done.status != 0:
            why = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [
                "no reason given"
            ]
            raise NotAuthorized(f"the key does not sign: {why[0]}", where=key)
        return message.with_suffix(".sig").read_text("ascii")


def verified(data: bytes, signature: str, key: str, person: str, *, namespace: str) -> bool:
    """True when `signature` over `data` was made with the private half of the public `key`."""
    if not signature.isascii() or "\n" in key:
        return False
    with tempfile.TemporaryDirectory(prefix="rollback-sign-") as folder:
        allowed = Path(folder, "allowed")
        allowed.write_text(f"{person} {key}\n", encoding="utf-8")
        signed = Path(folder, "signature")
        signed.write_text(signature, encoding="utf-8")
        argv = [
            _PROGRAM, "-Y", "verify", "-f", str(allowed), "-I", person, "-n", namespace,
            "-s", str(signed),
        ]  # fmt: skip
        return _run(argv, folder, stdin=data).status == 0


def _run(argv: list[str], folder: str, stdin: bytes = b"") -> Completed:
    try:
        return run(
            argv, cwd=folder, timeout_s=_TIMEOUT_S, environment=base_environment(), stdin=stdin
        )
    except CommandFailed as error:
        raise NotAuthorized(
            "signatures need ssh-keygen, which is not installed", hint="install openssh-client"
        ) from error
