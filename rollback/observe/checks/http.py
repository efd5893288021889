"""What a web address answers: status, values, text, shape, and how fast.

Hides: HTTP.
Never: calls silence anything but a failure: nobody answering is the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from rollback.host.net import Response
from rollback.model.errors import HostUnreachable
from rollback.model.finding import Attachment, Finding, Json, failed, passed
from rollback.model.quantity import spoken
from rollback.model.registry import register
from rollback.model.step import Check, Text
from rollback.observe.expect import Expected, JsonValue, shown
from rollback.observe.pointer import MISSING, Pointer, find, mismatches
from rollback.observe.reading import over_http
from rollback.observe.shape import Shape, violations
from rollback.observe.view import View
from rollback.observe.web import NOTHING, Url, exchange, fetch, json_of, text


@register("check", "http")
class Http(Check):
    """The answer to one request. `within` is the whole time that it may take.

    `pointer` is a map of JSON pointers and what stands there, or (as a reader) one pointer. An empty
    answer is none, unless `status` is written and nothing is asked about what it says.
    """

    url: Url
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = "GET"
    json_: JsonValue = Field(default=NOTHING, alias="json")
    headers: dict[str, Text] = Field(default_factory=dict)
    host: Text | None = None
    status: Annotated[int, Field(ge=100, le=599)] = 200
    pointer: dict[Pointer, Expected] | Pointer = Field(default_factory=dict)
    contains: Text | tuple[Text, ...] = ()
    absent: Text | tuple[Text, ...] = ()
    schema_: Shape | None = Field(default=None, alias="schema")

    @property
    def measures(self) -> Mapping[str, str]:
        """How long the answer took."""
        return {"milliseconds": "elapsed_ms"}

    @property
    def writes(self) -> str:
        """How asking it may change the system; a POST may say that it does not: `effects: none`."""
        harmless = self.method == "POST" and "effects" in self.model_fields_set
        if self.method in ("GET", "HEAD", "OPTIONS") or (harmless and self.effects == "none"):
            return super().writes
        return f"{self.method} may change what it is sent to"

    def ask(self, view: View) -> Finding:
        """PASS when everything that is declared holds for one answer."""
        try:
            answer = fetch(
                self.url, timeout_s=self.within, method=self.method, body=self.json_,
                headers=self.headers, host=self.host,
            )  # fmt: skip
        except HostUnreachable as error:
            said = shown(error.message)
            return failed(f"{self.method} {self.url}: {said}").showing(self._told(None, said))
        return self._judged(answer).showing(self._told(answer))

    def _told(self, answer: Response | None, said: str = "") -> Attachment:
        one = exchange(self.url, answer, method=self.method, body=self.json_, headers=self.headers,
                       said=said)  # fmt: skip
        return Attachment("transcript", (one,), "transcript")

    def _judged(self, answer: Response) -> Finding:
        elapsed_ms = round(answer.elapsed_s * 1000, 1)
        wrong = self._wrong(answer)
        if wrong:
            return failed(
                f"{self.method} {self.url}: {'; '.join(wrong[:5])}",
                status=answer.status, elapsed_ms=elapsed_ms,
            )  # fmt: skip
        return passed(
            f"{self.method} {self.url} answered {answer.status} in {elapsed_ms:.0f} ms",
            status=answer.status, elapsed_ms=elapsed_ms,
        )  # fmt: skip

    def read_value(self, view: View) -> Json:
        """The value at `pointer`, written as one pointer. Raises: HostUnreachable."""
        pointer = self.pointer if isinstance(self.pointer, str) else ""
        return over_http(self.url, pointer, timeout_s=self.within)

    def _wrong(self, answer: Response) -> list[str]:
        wrong = []
        if answer.status != self.status:
            wrong.append(f"status {answer.status}, not {self.status}")
        if answer.elapsed_s > self.within:
            wrong.append(f"took {spoken(answer.elapsed_s)}, more than {spoken(self.within)}")
        body = text(answer)
        if not body.strip() and self.method != "HEAD" and (self.absent or not self._asks()):
            wrong.append("the answer is empty" + ("" if self._asks() else f"; write status: {self.status} "
                         "if it may be"))  # fmt: skip
        wrong += [f"does not contain {shown(part)!r}" for part in _several(self.contains)
                  if part not in body]  # fmt: skip
        wrong += [f"contains {shown(part)!r}" for part in _several(self.absent) if part in body]
        if self.pointer or self.schema_ is not None:
            wrong += self._wrong_json(answer)
        return wrong

    def _asks(self) -> bool:
        asked = {"status", "pointer", "contains", "absent", "schema_"}
        return bool(asked & self.model_fields_set)

    def _wrong_json(self, answer: Response) -> list[str]:
        try:
            document = json_of(answer)
        except ValueError as error:
            return [str(error)]
        if isinstance(self.pointer, str):
            found = find(document, self.pointer)
            wrong = [f"{self.pointer} is missing"] if found is MISSING else []
            wrong += [f"{self.pointer} is null"] if found is None else []
        else:
            wrong = mismatches(document, self.pointer)
        if self.schema_ is not None:
            wrong += violations(document, self.schema_)
        return wrong


def _several(written: str | tuple[str, ...]) -> tuple[str, ...]:
    return (written,) if isinstance(written, str) else written
