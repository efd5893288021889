"""Places for copies: too few, one twice, our own, or one that would carry secrets away in clear."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rollback.model.errors import Problem
from rollback.model.system import System

Problems = Callable[..., tuple[Problem, ...]]
SAFETY = "    safety: {on: rollback, components: all, copies: 1, retention: 30d}\n"
S3 = ("{s3: {bucket: copies, endpoint: https://storage.example.org, access_key: env:A, "
      "secret_key: env:B%s}}")  # fmt: skip


def with_stores(base: str, safety: str = SAFETY, **stores: str) -> str:
    assert SAFETY in base
    lines = "".join(f"    {name}: {written}\n" for name, written in stores.items())
    return base.replace(SAFETY, f"{safety}  stores:\n{lines}")


@pytest.mark.parametrize(("safety", "stores", "said"), [
    (SAFETY.replace("copies: 1", "copies: 2"), {"second": "{folder: {path: /mnt/b}}"},
     "asks for 2 copies and names 1"),
    (SAFETY.replace("copies: 1", "copies: 3, stores: [second]"),
     {"second": "{folder: {path: /mnt/b}}"}, "asks for 3 copies and names 2"),
    (SAFETY, {"second": "{folder: {path: .rollback/second}}"}, "the tool's own state"),
    (SAFETY, {"second": "{folder: {path: b}}", "third": "{folder: {path: ./b}}"},
     "is the place of store 'second' too"),
    (SAFETY, {"second": S3.replace("https://", "http://") % ""}, "without TLS"),
    (SAFETY, {"second": S3.replace("env:B", "plain") % ""}, "secret_key"),
    (SAFETY, {"second": S3 % ", key: abcdef"}, "key"),
])  # fmt: skip
def test_places_that_cannot_do_are_refused(
    base: str, problems: Problems, safety: str, stores: dict[str, str], said: str
) -> None:
    found = problems(with_stores(base, safety, **stores))
    assert any(said in problem.message for problem in found), found
    assert all(problem.hint for problem in found)


def test_what_is_sensitive_leaves_with_a_key_only(
    base: str, problems: Problems, declare: Callable[[str], System]
) -> None:
    """Refused while it is read, before any command; a folder of this machine needs none."""
    secret = base.replace("content: sqlite", "content: sqlite, sensitive: true")
    assert secret != base
    found = problems(with_stores(secret, second=S3 % ""))
    assert any("away in clear" in problem.message for problem in found)
    declare(with_stores(secret, second=S3 % ", key: env:KEY"))
    declare(with_stores(secret, second="{folder: {path: /mnt/b}}"))
    declare(with_stores(base, second=S3 % ""))
