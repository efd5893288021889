"""Whether the same question gets the same answer, asked twice.

Hides: how questions are made up: from a fixed seed, so that two runs ask the same ones.
Never: takes a refusal for an answer, unless both are the same refusal of a strange question.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal
from urllib.parse import urlencode

from pydantic import Field, model_validator

from rollback.host.net import Response
from rollback.model.errors import HostUnreachable
from rollback.model.finding import Finding, Json, failed, passed, same, unknown
from rollback.model.quantity import spoken
from rollback.model.registry import Declared, register
from rollback.model.step import Check, Text
from rollback.observe.expect import JsonValue, shown
from rollback.observe.pointer import MISSING, Pointer, find
from rollback.observe.view import View
from rollback.observe.web import Url, fetch, json_of

_REFUSALS = (400, 404, 409, 413, 414, 422)
_ALPHABET = "abcdefghijklmnopqrstuvwxyz ABCXYZ 0123456789 .,;:!?-_'\"/\\<>&%+#{}[]äöüßéñ漢字🙂"


class Input(Declared):
    """What one input may be: a text of at most so many characters, a whole number, or a choice."""

    text: Annotated[int, Field(ge=1, le=10_000)] | None = None
    integer: Annotated[tuple[int, ...], Field(min_length=2, max_length=2)] | None = None
    one_of: Annotated[tuple[JsonValue, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Input:
        given = [one for one in (self.text, self.integer, self.one_of) if one is not None]
        if len(given) != 1:
            raise ValueError("an input is one of: text: 60, integer: [1, 5], one_of: [a, b]")
        if self.integer is not None and self.integer[0] > self.integer[1]:
            raise ValueError("integer: write the smaller number first")
        return self


@register("check", "consistent")
class Consistent(Check):
    """`examples` questions, each asked twice; the values at every `pointer` must be the same.

    The inputs go into the query of a GET, or the JSON of a POST.
    """

    url: Url
    method: Literal["GET", "POST"] = "GET"
    inputs: Annotated[dict[Text, Input], Field(min_length=1)]
    pointer: Annotated[tuple[Pointer, ...], Field(min_length=1)]
    examples: Annotated[int, Field(ge=1, le=10_000)] = 25
    seed: int = 1

    @property
    def writes(self) -> str:
        """How asking it may change the system; a POST may say that it does not: `effects: none`."""
        if self.method == "POST" and "effects" not in self.model_fields_set:
            return "POST may change what it is sent to"
        return super().writes

    def ask(self, view: View) -> Finding:
        """PASS when all examples were asked, and some question was answered, not refused."""
        clock = view.host.clock
        deadline = clock.boot_s() + self.within
        answered = 0
        for number, inputs in enumerate(self.questions(), start=1):
            if clock.boot_s() >= deadline:
                return unknown(
                    f"{number - 1} of {self.examples} questions in {spoken(self.within)}"
                )
            finding, refused = self._twice(inputs, deadline - clock.boot_s())
            if finding is not None:
                return finding
            answered += not refused
        if not answered:
            return failed(f"{self.url} refused all {self.examples} questions, or answered null")
        return passed(
            f"{self.url}: {self.examples} questions asked twice, {answered} answered, the same "
            "each time", answered=answered, examples=self.examples,
        )  # fmt: skip

    def ask_with(self, view: View, inputs: Mapping[str, Json]) -> Finding:
        """The finding for one question, asked twice: the inputs are given by whoever asks."""
        finding, refused = self._twice(inputs, self.within)
        if finding is not None:
            return finding
        word = "refused" if refused else "answered"
        return passed(f"{self.url}: {word} twice the same for {shown(dict(inputs))}")

    def questions(self) -> Iterator[dict[str, Json]]:
        """The questions that `ask` asks; the same ones every time."""
        for number in range(self.examples):
            yield {name: _made(rule, _Dice(f"{self.seed}/{number}/{name}"), number)
                   for name, rule in self.inputs.items()}  # fmt: skip

    def _twice(self, inputs: Mapping[str, Json], left_s: float) -> tuple[Finding | None, bool]:
        """A finding when the two answers are not good and alike; and whether both refused, or said null."""
        asked = shown(dict(inputs))
        try:
            one, other = self._once(inputs, left_s / 2), self._once(inputs, left_s / 2)
        except HostUnreachable as error:
            return failed(f"{self.url}: {shown(error.message)} for {asked}"), False
        if one.status != other.status:
            return failed(f"{self.url}: {one.status}, then {other.status} for {asked}"), False
        if one.status in _REFUSALS:
            return None, True
        if not 200 <= one.status < 300:
            return failed(f"{self.url}: status {one.status} for {asked}"), False
        try:
            first, second = json_of(one), json_of(other)
        except ValueError as error:
            return failed(f"{self.url}: {error}"), False
        nothing = True
        for pointer in self.pointer:
            a, b = find(first, pointer), find(second, pointer)
            if a is MISSING or b is MISSING:
                return failed(f"{self.url}: {pointer} is missing for {asked}"), False
            if not same(a, b):  # type: ignore[arg-type] # MISSING is excluded above
                return failed(
                    f"{self.url}: {pointer} is {shown(a, limit=60)}, then {shown(b, limit=60)} "
                    f"for {asked}"
                ), False  # fmt: skip
            nothing = nothing and a is None
        return None, nothing

    def _once(self, inputs: Mapping[str, Json], timeout_s: float) -> Response:
        if self.method == "POST":
            return fetch(self.url, timeout_s=timeout_s, method="POST", body=dict(inputs))
        query = urlencode({name: value if isinstance(value, str) else _word(value)
                           for name, value in inputs.items()})  # fmt: skip
        mark = "&" if "?" in self.url else "?"
        return fetch(f"{self.url}{mark}{query}", timeout_s=timeout_s)


def _word(value: Json) -> str:
    return {None: "", True: "true", False: "false"}[value] if (
        value is None or isinstance(value, bool)) else str(value)  # fmt: skip


class _Dice:
    """Numbers that follow from a word: the same word, the same numbers."""

    def __init__(self, word: str) -> None:
        self._word = word
        self._thrown = 0

    def below(self, limit: int) -> int:
        self._thrown += 1
        state = hashlib.sha256(f"{self._word}/{self._thrown}".encode()).digest()
        return int.from_bytes(state[:8], "big") % limit


def _made(rule: Input, dice: _Dice, number: int) -> Json:
    if rule.one_of is not None:
        choice: Json = rule.one_of[dice.below(len(rule.one_of))]
        return choice
    if rule.integer is not None:
        low, high = rule.integer
        edges = (low, high)
        return edges[number] if number < len(edges) else low + dice.below(high - low + 1)
    assert rule.text is not None, "one of three"
    lengths = (1, rule.text)  # the edges first
    length = lengths[number] if number < len(lengths) else 1 + dice.below(rule.text)
    return "".join(_ALPHABET[dice.below(len(_ALPHABET))] for _ in range(length))
