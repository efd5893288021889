"""A message as a POST of JSON to an address that the declaration allows.

Hides: HTTP.
Never: raises, follows a redirect, reads a long answer, or calls where nobody said it may; a name that
leads back to this machine counts as such a place.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import model_validator

from rollback.host import Host, net, outbound
from rollback.model.errors import HostUnreachable
from rollback.model.event import canonical
from rollback.model.quantity import Seconds
from rollback.model.registry import register
from rollback.model.step import NotifierKind, Text
from rollback.tell.message import Outgoing

_ANSWER_BYTES_MAX = 64 * 2**10


@register("notifier", "webhook")
class WebhookNotifier(NotifierKind):
    """`url` lies on this machine, or its `host:port` is written in `allow`."""

    url: Text
    allow: tuple[Text, ...] = ()
    within: Seconds = 5.0

    @model_validator(mode="after")
    def _allowed(self) -> WebhookNotifier:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ValueError(
                f"{self.url!r} is no web address without a user in it; write https://host/path"
            )
        if not outbound.here(parts.hostname) and self._place not in self.allow:
            raise ValueError(f'{self._place} is another machine; write allow: ["{self._place}"]')
        return self

    @property
    def _place(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"

    def deliver(self, message: Outgoing, _place: Path, _host: Host) -> str:
        """ "" when the other side said 2xx, else what it said."""
        fields = {"Content-Type": "application/json", "Idempotency-Key": _ascii(message.id)}
        try:
            with outbound.only((self._place,)):
                answer = net.request(
                    self.url, method="POST", body=canonical(message.data()), headers=fields,
                    timeout_s=self.within, limit_bytes=_ANSWER_BYTES_MAX,
                )  # fmt: skip
        except HostUnreachable as error:
            return error.message
        return "" if 200 <= answer.status < 300 else f"it answered {answer.status}"


def _ascii(text: str) -> str:
    return "".join(c if " " < c <= "~" else "-" for c in text)
