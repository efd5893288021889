"""A declaration that is made wrong in one place, and what `validate` has to say of it."""

from __future__ import annotations

from tests.cli.program import typed
from tests.systems import Shop, walk


def refused_with_its_line(shop: Shop, old: str, new: str) -> None:
    """`new` in the place of `old` is refused: each reason one line with its place, and nothing changed."""
    file = shop.folder / "rollback.yaml"
    right = file.read_text()
    assert old in right
    file.write_text(right.replace(old, new, 1))
    before = walk(shop.folder)
    try:
        said = typed(shop.folder, "validate")
        assert walk(shop.folder) == before
    finally:
        file.write_text(right)
    assert said.status == 2, said.out
    assert "Traceback" not in said.err
    lines = [
        line for line in said.err.splitlines() if line.strip() and not line.startswith("  try: ")
    ]
    assert lines
    assert all(line.removeprefix("rollback: ").startswith("rollback.yaml:") for line in lines)
    assert all(len(line) < 300 for line in lines)
