"""Our own kinds of notifiers, each on an example of its use.

Hides: what listens on the other side.
Never: calls anything but the loopback.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rollback.conformance.example import Example, Given
from rollback.conformance.world import World
from tests.conformance.examples.service_product import broken, frozen, serving, stopped
from tests.conformance.examples.spoils import Spoil

_SECRET = "geheim-4711-geheim"
_SPOILS: dict[str, Spoil] = {
    "refuses": stopped, "answers 500": broken, "hangs": frozen,
}  # fmt: skip


def _posted(world: World) -> str:
    """What was posted to the product."""
    box = world.root / "run" / "box"
    return box.read_text() if box.exists() else ""


def _referred(world: World) -> None:
    """The address, with its secret, stands in a file that the declaration refers to."""
    serving(world)
    address = f"json://user:{_SECRET}@127.0.0.1:{world.ports[0]}/box"
    (world.folder / "address").write_text(address)


def _blocked(world: World) -> None:
    """Where its folder would be there is a file."""
    (world.folder / "outbox").write_text("in the way")


def _of(parameters: Given, prepare: Callable[[World], Any], **more: Any) -> tuple[Example, ...]:
    return (Example(parameters, prepare=prepare, seen=_posted, spoils=_SPOILS, **more),)


EXAMPLES: dict[str, tuple[Example, ...]] = {
    "file": (Example({"path": "outbox/box.jsonl"}, spoils={"no folder": _blocked},
                     wrong=({"path": "/etc/passwd"}, {"path": "../box"}),
                     seen=lambda w: (w.folder / "outbox/box.jsonl").read_text()),),
    "phone": (Example({"who": "whoever is on duty"}),),
    "webhook": _of(lambda w: {"url": f"{w.url}/box", "within": "1s"}, serving,
                   wrong=({"url": "https://elsewhere.example/box"}, {"url": "http://u:p@127.0.0.1/"})),
    "apprise": _of({"url": "file:address", "within": "1s"}, _referred, secrets=(_SECRET,),
                   wrong=({"url": f"json://user:{_SECRET}@127.0.0.1/"},)),
}  # fmt: skip
