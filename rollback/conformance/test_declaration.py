"""What every kind owes whoever declares it: it is read back, and what is wrong is refused in a line.

Hides: nothing.
Never: knows a kind.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import ValidationError

from rollback.conformance.asked import Case
from rollback.conformance.fixtures import owes
from rollback.model.registry import kinds

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")
_STRANGE: tuple[Any, ...] = (
    None,
    [],
    {},
    -1,
    "",
    "\x1b[31m\n",
    True,
    10**30,
    1.5,
    ["\x00"],
    {"": None},
)
_WORDS_MAX = 600


def test_it_has_a_name_and_says_what_it_is(case: Case) -> None:
    """Under its name in its family; the first line of its docstring is for people."""
    kind = case.kind
    owes(_NAME.match(kind.kind), f"{kind.kind!r} is no name: use a-z, 0-9 and single '-'")
    owes(kinds(kind.family)[kind.kind] is kind, f"the name {kind.kind} belongs to another class")
    said = (vars(kind).get("__doc__") or "").strip().partition("\n")[0]
    owes(said, f"{kind.__name__} has no docstring: the first line says what it is")


def test_a_declaration_is_read_to_the_same_kind_each_time(
    case: Case, words: dict[str, Any]
) -> None:
    """The example works; it is JSON, and read from JSON it is equal; nobody can change it."""
    made = case.kind.model_validate(words, by_alias=True, by_name=False)
    again = case.kind.model_validate(json.loads(json.dumps(words)), by_alias=True, by_name=False)
    owes(
        made == again,
        "the same declaration, read twice, is not equal: a plan could not be compared",
    )
    frozen = case.kind.model_config.get("frozen")
    owes(frozen, "the kind can be changed after it was read: leave model_config as Declared has it")


def test_what_it_does_not_know_is_refused(case: Case, words: dict[str, Any]) -> None:
    """A misspelt parameter does not go unnoticed."""
    said = _refused(case, {**words, "no_such_parameter": 1})
    owes(
        said, "an unknown parameter is taken without a word: leave model_config as Declared has it"
    )


def test_strange_values_are_refused_in_a_line_and_break_nothing(
    case: Case, words: dict[str, Any]
) -> None:
    """Whatever stands at a parameter, it is taken or refused in one line; no other error comes out."""
    for name in words:
        for strange in _STRANGE:
            _refused(case, {**words, name: strange})
    whole: tuple[Any, ...] = (None, [], "text", 1)
    for given in whole:
        _refused(case, given)


def test_what_its_author_calls_wrong_is_refused_in_a_line(case: Case) -> None:
    """Each of the example's `wrong`."""
    for wrong in case.example.wrong:
        owes(
            _refused(case, dict(wrong)),
            f"{dict(wrong)!r} is taken, and its author says it is wrong",
        )


def _refused(case: Case, given: Any) -> list[str]:
    """What is said against it, a line each; empty when it is taken."""
    try:
        case.kind.model_validate(given, by_alias=True, by_name=False)
    except ValidationError as error:
        found = [one["msg"] for one in error.errors(include_url=False, include_input=False)]
    except Exception as error:  # noqa: BLE001 - that is the question
        owes(False, f"{given!r} is not refused, it breaks the kind: {type(error).__name__}: {error}; "
             "raise ValueError with a line for people")  # fmt: skip
        return []
    else:
        return []
    for said in found:
        owes(said and "\n" not in said and len(said) <= _WORDS_MAX,
             f"{given!r} is refused with more than a line: {said!r}")  # fmt: skip
    return found
