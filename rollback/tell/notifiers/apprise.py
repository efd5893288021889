"""A message through Apprise: chat, e-mail, paging and some hundred services more, by one address.

The address holds the secret of the service, so it is written as a reference. Where it may lead is
written beside it; a fence holds the library to that, whatever a server answers.

Hides: Apprise, which is the extra `notify` and is loaded only where something is delivered.
Never: raises, follows a redirect, calls where nobody said it may, or lets a text call people or be code.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import model_validator

from rollback.host import Host, outbound, reference
from rollback.model.errors import HostError
from rollback.model.quantity import Seconds
from rollback.model.registry import register
from rollback.model.step import NotifierKind, Text
from rollback.tell.message import Outgoing

if TYPE_CHECKING:
    from apprise import Apprise

_REFERENCES = ("env:", "file:", "credential:")
_OPEN = ("json", "jsons", "xml", "xmls", "form", "forms", "mailto", "mailtos")
_LOGGER = "apprise"


@register("notifier", "apprise")
class AppriseNotifier(NotifierKind):
    """`url` is an address of Apprise, or a reference to one. It may call what is written in `allow`.

    Each is a `host:port`; what lies on this machine need not be written.
    """

    url: Text
    allow: tuple[Text, ...] = ()
    within: Seconds = 8.0

    @model_validator(mode="after")
    def _no_secret(self) -> AppriseNotifier:
        scheme = self.url.partition("://")[0].lower()
        if not self.url.startswith(_REFERENCES) and (
            scheme not in _OPEN or urlsplit(self.url).password
        ):
            raise ValueError(
                "an address of a service holds its secret: write a reference, like env:CHAT_URL"
            )
        return self

    def deliver(self, message: Outgoing, place: Path, _host: Host) -> str:
        """ "" when the service took it, else why not."""
        try:
            address = reference.value(self.url, folder=str(place))
        except HostError as error:
            return str(error)
        try:
            from apprise import Apprise, AppriseAsset, NotifyFormat
        except ImportError:
            return "the extra notify is not installed: pip install 'CHECKOUT[notify]'"
        heard = _Heard()
        logging.getLogger(_LOGGER).addHandler(heard)
        try:
            # without a time of its own it works in this thread, inside the fence
            asset = AppriseAsset(
                async_mode=False, http_redirects=False, allow_templates=False, service_timeout=0
            )
            channel = Apprise(asset=asset)
            if not channel.add(_timed(address, self.within)):
                return "this is no address that Apprise knows"
            with outbound.only((*self.allow, *_own(channel))) as refused:
                ok = channel.notify(
                    body=message.text, title=message.title, body_format=NotifyFormat.TEXT
                )
        except Exception as error:  # noqa: BLE001 - hundred plugins of others, each with its own
            return f"{type(error).__name__} in the library"
        finally:
            logging.getLogger(_LOGGER).removeHandler(heard)
        if refused:
            return f'{refused[0]} is not allowed; write allow: ["{refused[0]}"]'
        return "" if ok else heard.last or "the service did not take it"


class _Heard(logging.Handler):
    """What the library says in this thread, the last word of it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """One word of the library."""
        if record.thread == self._thread:
            self.last = record.getMessage()


def _timed(address: str, within_s: float) -> str:
    """The address, with an end to every waiting in it."""
    joint = "&" if "?" in address else "?"
    each_s = max(0.1, within_s / 2)
    return f"{address}{joint}cto={each_s:.1f}&rto={each_s:.1f}"


def _own(channel: Apprise) -> tuple[str, ...]:
    """Where the address itself leads, as far as that is this machine."""
    found = []
    for one in channel:
        host, port = str(getattr(one, "smtp_host", "") or getattr(one, "host", "") or ""), one.port
        standard = 443 if getattr(one, "secure", False) else 80
        if outbound.here(host):
            found.append(f"{host}:{port or standard}")
    return tuple(found)
