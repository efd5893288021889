"""Messages: a declared text with its fields filled in, queued as an event.

Fields are plain `{name}`; there is no logic and no format inside. A message has an id made of run,
step and name, so that whoever delivers after a crash sends it once more at worst, and a receiver
can tell.

Hides: how texts are filled.
Never: says what the journal does not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from rollback.model.finding import Json
from rollback.model.operations import Message
from rollback.model.system import System
from rollback.model.wording import FIELD

__all__ = ["Message", "Outgoing", "due_in", "moment", "plain", "queued", "render"]

TEXT_CHARS_MAX = 8000
FIELD_CHARS_MAX = 1000
_CALLS = re.compile(r"@(?=everyone|here|channel|all\b|room)|<(?=[!@#][^>]*>)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What a channel gets."""

    id: str
    name: str
    audience: str
    title: str
    text: str
    run: str
    at: str
    urgent: bool = False

    def data(self) -> dict[str, Json]:
        """As JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


def render(text: str, fields: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """The text with its fields filled in, and the names that nobody filled; those stay as written.

    >>> render("{title}: {what} {now", {"title": "Studio"})
    ('Studio: {what} {now', ('what',))
    """
    missing: list[str] = []

    def fill(found: re.Match[str]) -> str:
        name = found[1]
        if name in fields and fields[name] != "":
            return _calm(plain(fields[name]))[:FIELD_CHARS_MAX]
        missing.append(name)
        return found[0]

    filled = FIELD.sub(fill, text)
    return filled[:TEXT_CHARS_MAX], tuple(dict.fromkeys(missing))


def moment(at: str) -> str:
    """A moment of the journal as people read it; "" stays "".

    >>> moment("2026-11-20T21:30:05.123456Z")
    '2026-11-20 21:30:05 UTC'
    """
    return f"{datetime.fromisoformat(at).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if at else ""


def queued(
    system: System, name: str, fields: Mapping[str, str], *, run: str, step: str,
    audience: str = "", declared: Message | None = None,
) -> dict[str, Json]:  # fmt: skip
    """The data of the event `message.queued` for a declared message, or for one of our own."""
    message = declared or system.notify.messages[name]
    text, missing = render(message.text, fields)
    title, more = render(message.title or "{title}", fields)
    required = [field for field in message.fields if not fields.get(field)]
    unfilled: list[Json] = list(dict.fromkeys((*missing, *more, *required)))
    return {
        "id": f"{run}/{step}/{name}", "name": name, "step": step, "title": title, "text": text,
        "audience": audience or message.audience, "urgent": message.urgent, "missing": unfilled,
    }  # fmt: skip


def due_in(system: System, state: str) -> tuple[str, ...]:
    """The messages that this state of a run sends."""
    word = state.lower().replace("_", "-")
    return tuple(name for name, message in system.notify.messages.items() if word in message.on)


def _calm(text: str) -> str:
    """Without what a chat takes for a call to everybody: only a declared text may call people."""
    return _CALLS.sub(lambda found: found[0][0] + "\u200b" + found[0][1:], text)


def plain(text: str) -> str:
    """Without control characters, which a terminal or a mail would obey."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)
