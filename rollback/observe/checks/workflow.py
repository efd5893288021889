"""A piece of work done through the product's interface, step by step, to its end.

Hides: polling, placeholders, and the second session that looks for leaks.
Never: passes a step whose end was not seen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rollback.host.net import Response
from rollback.model.errors import HostUnreachable
from rollback.model.finding import (
    Attachment,
    Exchange,
    Finding,
    Json,
    failed,
    passed,
    unknown,
)
from rollback.model.quantity import Seconds, counted, spoken
from rollback.model.registry import Declared, register, spelt
from rollback.model.step import Check, Effects, Text
from rollback.observe.deadline import together
from rollback.observe.expect import Expected, JsonValue, combined, shown
from rollback.observe.pointer import MISSING, Pointer, find, mismatches
from rollback.observe.view import View
from rollback.observe.web import NOTHING, exchange, fetch, json_of, text

_METHODS = ("get", "post", "put", "patch", "delete")
_FIELD = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_TOKEN = re.compile(r"tok-[0-9a-f]{16}")
_NAMED = "use a-z, 0-9 and '_', first a letter"
_EVERY_S = 0.1
_BODY_SHOWN = 120


class Step(Declared):
    """One request: its method is the key whose value is the address.

    With `until` it is repeated until the values are there, for at most `within`. `{name}` in
    the address, the JSON and the texts is a value saved by an earlier step, or the token.
    `contains` texts stand anywhere in the answer, or each in the text at its pointer: a token that
    was put in at the entrance is followed to where it must come out, and is seen nowhere else.
    """

    get: Text | None = None
    post: Text | None = None
    put: Text | None = None
    patch: Text | None = None
    delete: Text | None = None
    json_: JsonValue = Field(default=NOTHING, alias="json")
    headers: dict[str, Text] = Field(default_factory=dict)
    status: Annotated[int, Field(ge=100, le=599)] | None = None
    save: dict[Annotated[str, spelt(r"\A[a-z][a-z0-9_]*\z", _NAMED)], Pointer] = Field(
        default_factory=dict
    )
    until: dict[Pointer, Expected] = Field(default_factory=dict)
    within: Seconds | None = None
    pointer: dict[Pointer, Expected] = Field(default_factory=dict)
    contains: Text | tuple[Text, ...] | dict[Pointer, Text] = ()
    absent: Text | tuple[Text, ...] = ()
    tokens: Literal["only-own"] | None = None

    @model_validator(mode="after")
    def _one_method(self) -> Step:
        given = [name for name in _METHODS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a step is one of: {', '.join(_METHODS)}")
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"{self.url!r} is no web address; write http://host:port/path")
        return self

    @property
    def method(self) -> str:
        """Its name as HTTP writes it: GET, POST."""
        return next(name for name in _METHODS if getattr(self, name) is not None).upper()

    @property
    def url(self) -> str:
        """The address, placeholders and all."""
        return str(getattr(self, self.method.lower()))


@register("check", "workflow")
class Workflow(Check):
    """Steps in order. With `token: true` every asking has a token of its own.

    Where a step says `tokens: only-own`, a second session with another token does the same work
    at the same time, and no answer of such a step may hold any token but its session's own.
    """

    steps: Annotated[tuple[Step, ...], Field(min_length=1)]
    token: bool = False
    effects: Effects = "test-data"

    @model_validator(mode="after")
    def _known_fields(self) -> Workflow:
        known = {"token"} if self.token else set()
        for number, step in enumerate(self.steps, start=1):
            for written in (step.url, *_several(step.contains), *_several(step.absent)):
                for name in _FIELD.findall(written):
                    if name not in known:
                        raise ValueError(
                            f"step {number}: {{{name}}} was not saved by an earlier step; save it in one"
                        )
            known |= step.save.keys()
            if step.tokens and not self.token:
                raise ValueError(
                    f"step {number}: tokens: only-own needs a token; write token: true beside steps"
                )
        return self

    @property
    def measures(self) -> Mapping[str, str]:
        """How long the work took, where it was done."""
        return {"seconds": "elapsed_s"}

    @property
    def writes(self) -> str:
        """How asking it may change the system: by a step that is no GET."""
        methods = sorted({step.method for step in self.steps} - {"GET"})
        return f"{methods[0]} may change what it is sent to" if methods else super().writes

    def ask(self, view: View) -> Finding:
        """PASS when every step of every session came to its declared end in time."""
        sessions = 2 if any(step.tokens for step in self.steps) else 1
        deadline = view.host.clock.boot_s() + self.within
        tokens = [f"tok-{view.host.token(8)}" for _ in range(sessions)]
        works = [
            lambda token=token: _Session(self, view, deadline, token).run() for token in tokens
        ]
        findings = []
        for outcome in together(works, within_s=self.within + 0.3, clock=view.host.clock):
            if outcome.error is not None:
                findings.append(unknown(f"the session went wrong: {shown(str(outcome.error))}"))
            else:
                late = failed(f"the work did not end within {spoken(self.within)}")
                findings.append(outcome.result or late)
        return combined(findings)


class _Session:
    """One walk through the steps with a token of its own."""

    def __init__(self, workflow: Workflow, view: View, deadline: float, token: str) -> None:
        self._steps = workflow.steps
        self._clock = view.host.clock
        self._deadline = deadline
        self._token = token
        self._values: dict[str, str] = {"token": token}
        self._told: dict[int, Exchange] = {}  # the last one of each step

    def run(self) -> Finding:
        """The finding, with what was said at each step."""
        finding = self._walk()
        return finding.showing(Attachment("transcript", (*self._told.values(),), "transcript"))

    def _walk(self) -> Finding:
        began = self._clock.boot_s()
        for number, step in enumerate(self._steps, start=1):
            if reason := self._step(step):
                where = (
                    f"step {number} of {len(self._steps)}, {step.method} {self._filled(step.url)}"
                )
                return failed(f"{where}: {reason}", step=number)
        took_s = self._clock.boot_s() - began
        return passed(
            f"{counted(len(self._steps), 'step')} in {spoken(took_s)}", elapsed_s=round(took_s, 3)
        )

    def _step(self, step: Step) -> str:
        """Why the step failed; "" when it came to its end."""
        end = self._deadline
        if step.within is not None:
            end = min(end, self._clock.boot_s() + step.within)
        while True:
            try:
                answer = self._request(step, end)
            except HostUnreachable as error:
                return shown(error.message)
            if reason := _wrong_status(step, answer):
                return reason
            if reason := self._foreign(step, answer):
                return reason  # a leak while the work goes on is a leak
            waiting = _not_yet(step, answer)
            if not waiting:
                return self._ended(step, answer)
            if self._clock.boot_s() + _EVERY_S >= end:
                return f"did not come to its end in time: {waiting}"
            self._clock.sleep(_EVERY_S)

    def _request(self, step: Step, end: float) -> Response:
        left_s = end - self._clock.boot_s()
        if left_s <= 0:
            raise HostUnreachable("no time was left")
        body = step.json_ if step.json_ is NOTHING else self._filled_json(step.json_)
        url, method = self._filled(step.url), step.method
        headers = {name: self._filled(value) for name, value in step.headers.items()}
        answer, said = None, ""
        try:
            answer = fetch(url, timeout_s=left_s, method=method, body=body, headers=headers)
        except HostUnreachable as error:
            said = error.message
            raise
        finally:
            self._told[id(step)] = exchange(
                url, answer, method=method, body=body, headers=headers, said=said
            )
        return answer

    def _ended(self, step: Step, answer: Response) -> str:
        body = text(answer)
        for part in () if isinstance(step.contains, dict) else _several(step.contains):
            if self._filled(part) not in body:
                return f"does not contain {shown(self._filled(part))!r}: {_short(body)}"
        if (step.absent or step.tokens) and not body.strip():
            return "the answer is empty: there is nothing to look at"
        for part in _several(step.absent):
            if self._filled(part) in body:
                return f"contains {shown(self._filled(part))!r}"
        places = step.contains if isinstance(step.contains, dict) else {}
        if not step.pointer and not step.save and not places:
            return ""
        try:
            document = json_of(answer)
        except ValueError as error:
            return str(error)
        if wrong := mismatches(document, step.pointer):
            return "; ".join(wrong[:5])
        if lost := [why for place in places.items() if (why := self._lost(document, *place))]:
            return "; ".join(lost[:5])
        return self._save(step.save, document)

    def _lost(self, document: Json, pointer: str, written: str) -> str:
        """Why what must come out at the pointer did not; "" when it did."""
        found, wanted = find(document, pointer), self._filled(written)
        if isinstance(found, str) and wanted in found:
            return ""
        held = (
            "nothing"
            if found is MISSING
            else _short(found)
            if isinstance(found, str)
            else "no text"
        )
        return f"{pointer} does not contain {shown(wanted)!r}: {held}"

    def _save(self, wanted: Mapping[str, str], document: Json) -> str:
        for name, pointer in wanted.items():
            found = find(document, pointer)
            if found is MISSING or isinstance(found, (dict, list)) or found is None:
                return f"{pointer} holds nothing to save as {name}"
            self._values[name] = str(found)
        return ""

    def _foreign(self, step: Step, answer: Response) -> str:
        if not step.tokens:
            return ""
        foreign = set(_TOKEN.findall(text(answer))) - {self._token}
        return f"holds the token of another session: {min(foreign)}" if foreign else ""

    def _filled(self, written: str) -> str:
        return _FIELD.sub(lambda found: self._values.get(found[1], found[0]), written)

    def _filled_json(self, value: Json) -> Json:
        if isinstance(value, str):
            return self._filled(value)
        if isinstance(value, list):
            return [self._filled_json(item) for item in value]
        if isinstance(value, dict):
            return {key: self._filled_json(item) for key, item in value.items()}
        return value


def _wrong_status(step: Step, answer: Response) -> str:
    if step.status is not None and answer.status != step.status:
        return f"status {answer.status}, not {step.status}: {_short(text(answer))}"
    if step.status is None and not 200 <= answer.status < 300:
        return f"status {answer.status}: {_short(text(answer))}"
    return ""


def _not_yet(step: Step, answer: Response) -> str:
    if not step.until:
        return ""
    try:
        return "; ".join(mismatches(json_of(answer), step.until))
    except ValueError as error:
        return str(error)


def _short(body: str) -> str:
    return shown(body, limit=_BODY_SHOWN) or "(empty)"


def _several(written: str | tuple[str, ...] | Mapping[str, str]) -> tuple[Any, ...]:
    if isinstance(written, Mapping):
        return tuple(written.values())
    return (written,) if isinstance(written, str) else written
