"""Secrets leave no trace: known values in any common spelling, and anything under a telling key.

Hides: which spellings are looked for.
Never: is asked to undo.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import urllib.parse
from collections.abc import Iterable

from rollback.model.finding import Json

MASK = "***REDACTED***"
SECRET_CHARS_MIN = 6  # a shorter value would mask ordinary words
_TELLING = re.compile(
    r"passw|secret|token|credential|api[_-]?key|access[_-]?key|private[_-]?key|\Akey\Z", re.I
)
_URL_USER = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^/\s:@]*:)[^/\s@]+@", re.I)
_WHOLE = frozenset({"plan", "plan_digest"})  # bound to a digest; declarations hold no secrets


class Redactor:
    """Masks the given secret values, and values under telling keys."""

    def __init__(self, secrets: Iterable[str] = (), *, keys: Iterable[str] = ()) -> None:
        """`keys` are telling words of this system, beside those that tell everywhere."""
        spelled = {
            spelling
            for secret in secrets
            for part in (secret, *secret.splitlines())
            if len(part) >= SECRET_CHARS_MIN
            for spelling in spellings(part)
        }
        longest_first = sorted(spelled, key=len, reverse=True)
        self._pattern = (
            re.compile("|".join(map(re.escape, longest_first)), re.I) if spelled else None
        )
        own = "|".join(re.escape(key) for key in keys)
        self._telling = re.compile(f"{_TELLING.pattern}|{own}", re.I) if own else _TELLING

    @property
    def idle(self) -> bool:
        """True when no value is known that would be masked."""
        return self._pattern is None

    def text(self, written: str) -> str:
        """The text without secrets."""
        written = _URL_USER.sub(rf"\1{MASK}@", written)
        return self._pattern.sub(MASK, written) if self._pattern else written

    def data(self, value: dict[str, Json]) -> dict[str, Json]:
        """The same shape without secrets; keys tell, at any depth."""
        return {
            key: self._values(item) if key in _WHOLE else self._item(key, item)
            for key, item in value.items()
        }

    def under(self, key: str, value: Json) -> Json:
        """What may be told of a value that stands under this key."""
        return self._item(key, value)

    def _item(self, key: str, value: Json) -> Json:
        if self._telling.search(key):
            return _masked(value)
        if isinstance(value, dict):
            return {self.text(k): self._item(k, v) for k, v in value.items()}
        if isinstance(value, list):
            return [self._item("", v) for v in value]
        return self._values(value)

    def _values(self, value: Json) -> Json:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(k): self._values(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self._values(v) for v in value]
        if isinstance(value, (int, float)) and self._pattern and not isinstance(value, bool):
            return MASK if self._pattern.fullmatch(str(value)) else value
        return value


def _masked(value: Json) -> Json:
    """The shape without anything in it; yes and no, and nothing, are no secrets."""
    if isinstance(value, dict):
        return {key: _masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return value if value is None or isinstance(value, bool) else MASK


def spellings(secret: str) -> set[str]:
    """The ways in which a secret turns up in output: escaped, quoted, encoded, wrapped."""
    raw = secret.encode("utf-8", "surrogatepass")
    once = json.dumps(secret)[1:-1]
    found = {
        secret, once, json.dumps(once)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1], ascii(secret)[1:-1], urllib.parse.quote(raw, safe=""),
        urllib.parse.quote(raw), urllib.parse.quote_plus(raw), html.escape(secret),
        html.escape(secret, quote=False), shlex.quote(secret), raw.hex(), raw.hex(" "),
        raw.hex(":"), base64.b32encode(raw).decode().rstrip("="), secret[::-1],
    }  # fmt: skip
    for offset in range(3):  # base64 of text around it: drop what the neighbours change
        encoded = base64.b64encode(b"\0" * offset + raw)
        inner = encoded[(offset + 2) // 3 * 4 if offset else 0 :].rstrip(b"=")
        whole = inner[: len(inner) - (1 if (len(raw) + offset) % 3 else 0)].decode()
        found |= {whole, whole.replace("+", "-").replace("/", "_")}
    return {spelling for spelling in found if len(spelling) >= SECRET_CHARS_MIN}
