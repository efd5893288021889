"""Takes the secrets of a system out of what tests are called and say, before anybody else hears it.

Hides: where pytest keeps texts, and how names stay different that differ in a secret alone.
Never: imports pytest; changes an outcome; sees a secret that was cut in two.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rollback.model.errors import UsageError

if TYPE_CHECKING:
    from rollback.prove.sight import Sight

ASKED = "rollback.asked"  # the user property that carries what a check answered
_SPOKEN = ("longrepr", "sections", "keywords", "context", "wasxfail", "reason")


class Discreet:
    """Knows the secrets of the system that is asked, and of what its tests are given."""

    def __init__(self, sight: Callable[[], Sight]) -> None:
        """`sight` raises UsageError where there is no system: then nothing is asked, either."""
        self._sight = sight
        self._times: dict[str, int] = {}

    def text(self, said: str) -> str:
        """The text without secrets."""
        try:
            return self._sight().hide.text(said)
        except UsageError:
            return said

    def name(self, item: Any) -> None:
        """No parameter that is a secret stands in the test's name; two that differ in it stay two."""
        given = getattr(getattr(item, "callspec", None), "params", {})
        if given:
            self._learn(given)
        path, _, name = item.nodeid.partition("::")
        told = self.text(name)
        if told == name:
            return
        before = self._times.get(f"{path}::{told}", 0)
        self._times[f"{path}::{told}"] = before + 1
        more = f"#{before + 1}" if before else ""
        item.name = self.text(item.name) + more
        item._nodeid = f"{path}::{told}{more}"  # noqa: SLF001 - it cannot be given otherwise

    def _learn(self, given: Mapping[str, Any]) -> None:
        """What is given as `password` is one, whether or not the declaration knows it.

        A `key` alone is more often that of a setting, and its value an ordinary word.
        """
        from rollback.keep.redact import MASK

        with suppress(UsageError):
            sight = self._sight()
            texts = {name: one for name, one in given.items()
                     if isinstance(one, str) and name.lower() != "key"}  # fmt: skip
            sight.keep_secret(
                one for name, one in texts.items() if sight.hide.under(name, "") == MASK
            )

    def report(self, report: Any) -> None:
        """Nothing that a report says of a test, to whomever it is handed on, holds a secret.

        Its message, every link of the chain of exceptions, what was printed and logged, properties.
        """
        for name in _SPOKEN:
            if value := getattr(report, name, None):
                setattr(report, name, self._without(value))
        said = getattr(report, "user_properties", [])
        # What a declared check answered was searched already, and its id is compared.
        said[:] = [one if one[0] == ASKED else self._without(one) for one in said]

    def warning(self, warned: Any) -> None:
        """Nor does a warning, which is shown at the end."""
        if (told := self.text(said := str(warned.message))) != said:
            warned.message = UserWarning(told)

    def _without(self, value: Any) -> Any:
        """The same with every text in it searched; pytest's own objects are changed in place."""
        if isinstance(value, str):
            return plain(self.text(value))
        if isinstance(value, (list, tuple)):
            return type(value)(self._without(one) for one in value)
        if isinstance(value, Mapping):
            return {self._without(key): self._without(one) for key, one in value.items()}
        if dataclasses.is_dataclass(value) or hasattr(value, "toterminal"):
            names = {*getattr(value, "__dict__", {})}
            if dataclasses.is_dataclass(value):
                names |= {one.name for one in dataclasses.fields(value)}
            for name in sorted(names):
                object.__setattr__(value, name, self._without(getattr(value, name)))
        return value


def plain(text: str) -> str:
    """The text, with halves of characters that no encoding can write (lone surrogates) spelt out."""
    return text.encode("utf-8", "backslashreplace").decode()
