"""One HTTP question with a JSON body and, often, a JSON answer.

Hides: headers, encoding, and what is said when nobody answers.
Never: follows a redirect, keeps a secret in evidence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator

from rollback.host import net
from rollback.host.net import Response
from rollback.keep.redact import MASK
from rollback.model.event import canonical
from rollback.model.finding import Exchange, Json
from rollback.observe.expect import shown
from rollback.observe.pointer import parse

NOTHING: Any = object()
BODY_BYTES_KEPT = 64 * 2**10  # of a body, for a report
_OPENS = re.compile(r"authori[sz]ation|authenticat|cookie|session", re.IGNORECASE)


def _http(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"{url!r} is no web address; write http://host:port/path")
    if "@" in parts.netloc:
        raise ValueError("a web address must hold no user name or password")
    if any(ord(mark) <= 32 or ord(mark) == 127 for mark in url):
        raise ValueError(f"{url!r} holds a space or control character; write %20")
    return url


Url = Annotated[str, AfterValidator(_http)]
"""A field that holds a web address."""


def fetch(
    url: str, *, timeout_s: float, method: str = "GET", body: Json = NOTHING,
    headers: Mapping[str, str] | None = None, host: str | None = None,
) -> Response:  # fmt: skip
    """The answer, of any status. Raises: HostUnreachable when nobody answers in time."""
    fields = {"Accept": "application/json, */*", **(headers or {})}
    data = None
    if body is not NOTHING:
        data = canonical(body)
        fields.setdefault("Content-Type", "application/json")
    if host is not None:
        fields["Host"] = host
    return net.request(
        url, method=method, body=data, headers=fields, timeout_s=max(0.05, timeout_s)
    )


def exchange(
    url: str, answer: Response | None, *, method: str = "GET", body: Json = NOTHING,
    headers: Mapping[str, str] | None = None, said: str = "",
) -> Exchange:  # fmt: skip
    """The question and its answer for a report, without what opens a door (cookies, authorization)."""
    data = b"" if body is NOTHING else canonical(body)[:BODY_BYTES_KEPT]
    if answer is None:
        return Exchange(method, url, _harmless(headers or {}), data, said=said)
    return Exchange(
        method, url, _harmless(headers or {}), data, answer.status, _harmless(answer.headers),
        answer.body[:BODY_BYTES_KEPT], answer.elapsed_s,
    )  # fmt: skip


def _harmless(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: MASK if _OPENS.search(name) else value for name, value in headers.items()}


def text(response: Response) -> str:
    """The body as text; bytes that are no UTF-8 are replaced."""
    return response.body.decode("utf-8", "replace")


def json_of(response: Response) -> Json:
    """The body as JSON. Raises: ValueError with the beginning of what came instead."""
    try:
        return parse(response.body)
    except ValueError as error:
        raise ValueError(
            f"the answer is no JSON ({shown(str(error), limit=60)}): "
            f"{shown(text(response), limit=80)!r}"
        ) from None
