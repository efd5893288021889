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
_TELLING = re.compile(r"passw|secret|token|credential|api[_-]?key|private[_-]?key|\Akey\Z", re.I)
_URL_USER = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^/\s:@]*:)[^/\s@]+@", re.I)
_WHOLE = frozenset({"plan", "plan_digest"})  # bound to a digest; declarations hold no secrets


class Redactor:
    """Masks the given secret values, and values under telling keys."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        spelled = {
            s for secret in secrets if len(secret) >= SECRET_CHARS_MIN for s in spellings(secret)
        }
        longest_first = sorted(spelled, key=len, reverse=True)
        self._pattern = (
            re.compile("|".join(map(re.escape, longest_first)), re.I) if spelled else None
        )

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

    def _item(self, key: str, value: Json) -> Json:
        if isinstance(value, dict):
            return {self.text(k): self._item(k, v) for k, v in value.items()}
        if isinstance(value, list):
            return [self._item(key, v) for v in value]
        if (
            _TELLING.search(key)
            and isinstance(value, (str, int, float))
            and not isinstance(value, bool)
        ):
            return MASK
        return self._values(value)

    def _values(self, value: Json) -> Json:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(k): self._values(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self._values(v) for v in value]
        return value


def spellings(secret: str) -> set[str]:
    """The ways in which a secret turns up in output: escaped, quoted, encoded, reversed by none."""
    raw = secret.encode()
    found = {
        secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], urllib.parse.quote(secret, safe=""),
        urllib.parse.quote_plus(secret), html.escape(secret), shlex.quote(secret), raw.hex(),
    }  # fmt: skip
    for offset in range(3):  # base64 of text around it: drop what the neighbours change
        encoded = base64.b64encode(b"\0" * offset + raw)
        inner = encoded[(offset + 2) // 3 * 4 if offset else 0 :].rstrip(b"=")
        whole = inner[: len(inner) - (1 if (len(raw) + offset) % 3 else 0)].decode()
        found |= {whole, whole.replace("+", "-").replace("/", "_")}
    return {spelling for spelling in found if len(spelling) >= SECRET_CHARS_MIN}
