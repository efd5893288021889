"""What of a declaration bears authority: every field that lets a run go ahead with less asking.

Who may say yes, what is asked before a run starts, what is kept before it changes anything, and
what must be proved before it is COMPLETE. Titles, times, metrics and the words of messages are not.

Hides: which fields these are.
Never: judges a change: a stricter declaration is another one too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rollback.model.event import digest

FORMAT = 2  # 1 held people, autonomy, guardrails and authority alone
_WHOLE = ("people", "autonomy", "guardrails", "places")
_LEVEL = (
    "rank", "component", "authority", "emergency", "waives", "prerequisites", "requires_lower_failed",
    "use_when", "not_when", "gate",
)  # fmt: skip
_ITEM = ("id", "item", "check", "step", "message", "attest", "follow_up", "record", "gates", "due")
_PROOF = ("known_red", "retired", "suites", "tolerances")
_SUITES = ("smoke", "functional", "integration", "performance")


def parts(source: Mapping[str, Any]) -> dict[str, str]:
    """The digest of each part of a declaration that bears authority, by its place, like levels.code.

    `source` is the declaration as plain data; what it does not say is no part.
    """
    return {where: digest(body, domain="authority") for where, body in bodies(source).items()}


def bodies(source: Mapping[str, Any]) -> dict[str, Any]:
    """Each of those parts as plain data."""
    return {where: body for where, body in _parts(source) if body}


def whole(found: Mapping[str, str]) -> str:
    """The digest over all parts; what people accept with `rollback trust`."""
    return digest({"format": FORMAT, "parts": dict(found)}, domain="authority")


def _parts(source: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in _WHOLE:
        yield name, source.get(name)
    yield "state", _some(_dict(source.get("state")), ("anchor", "fallback"))
    yield "repository.protected", _dict(source.get("repository")).get("protected")
    for section, fields in (
        ("environments", ("confirm", "window", "allows")),
        ("components", ("content", "exclude", "volatile", "database", "repair", "transaction_log")),
    ):
        for name, one in _dict(source.get(section)).items():
            # that it is there counts too: without an environment nothing of it is asked
            yield f"{section}.{name}", {"declared": True, **_some(_dict(one), fields)}
    for section in ("levels", "procedures"):
        for name, level in _dict(source.get(section)).items():
            yield f"{section}.{name}", _level(_dict(level))
    yield "verification", _proof(_dict(source.get("verification")))
    yield "checks before a start", _asked_first(source)
    yield "triggers", [_trigger(_dict(one)) for one in _list(source.get("triggers"))]
    for name, word in _dict(source.get("severity")).items():
        if _dict(word).get("automatic"):  # it acts by itself, as such a trigger does
            yield f"severity.{name}", dict(_dict(word))
    yield "decision", _decision(_dict(source.get("decision")))
    for name, ladder in _dict(_dict(source.get("notify")).get("ladders")).items():
        if _dict(ladder).get("self_authorize"):  # who may say yes when it was silent, and how soon
            yield f"notify.ladders.{name}", _some(_dict(ladder), ("self_authorize", "rungs"))
    yield "redeploy", _some(_dict(source.get("redeploy")), ("authority", "requires", "stages"))


def _level(level: Mapping[str, Any]) -> dict[str, Any]:
    found = _some(level, _LEVEL)
    found["checklist"] = [_some(_dict(one), _ITEM) for one in _list(level.get("checklist"))]
    climbs = _some(_dict(level.get("on_fail")), ("climb", "when"))
    steps = list(_steps(_list(level.get("steps"))))
    return {
        **found,
        **({"on_fail": climbs} if climbs else {}),
        **({"steps": steps} if steps else {}),
    }


def _steps(written: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """The steps that ask for less than their kind does: taken unprotected, or allowed to fail."""
    for number, item in enumerate(written, start=1):
        for kind, body in _dict(item).items():
            on_fail = _dict(body).get("on_fail")
            rest = on_fail if isinstance(on_fail, str) else _dict(on_fail).get("otherwise")
            less = _some(_dict(body), ("exempt",))
            if rest == "continue":
                less["otherwise"] = rest
            if less:
                yield {"step": number, "kind": kind, "id": _dict(body).get("id", ""), **less}
            for other in _steps(_list(_dict(on_fail).get("then"))):
                yield {"of": number, **other}


def _proof(verification: Mapping[str, Any]) -> dict[str, Any]:
    """What a gate may want: the checks of each suite by id and level, and what is not wanted."""
    found = _some(verification, _PROOF)
    for suite in _SUITES:
        asked = [
            [kind, *(_dict(body).get(name) for name in ("id", "levels", "effects"))]
            for kind, body in _checks(verification, suite)
        ]
        if asked:
            found[suite] = asked
    return found


def _asked_first(source: Mapping[str, Any]) -> list[Any]:
    """The checks that a run waits for before it starts, whole: a hollow one would let it go."""
    levels = [
        _dict(level) for name in ("levels", "procedures") for level in _dict(source.get(name)).values()
    ]  # fmt: skip
    first = [one for level in levels for one in _list(level.get("prerequisites"))]
    first += [
        item for level in levels for item in _list(level.get("checklist"))
        if _dict(item).get("gates") == "start"
    ]  # fmt: skip
    names = {_dict(one).get("check") for one in first} - {None}
    verification = _dict(source.get("verification"))
    return [
        [suite, kind, body]
        for suite in _SUITES
        for kind, body in _checks(verification, suite)
        if _dict(body).get("id") in names
    ]


def _trigger(trigger: Mapping[str, Any]) -> dict[str, Any]:
    """A trigger that acts by itself is pinned whole; of any other, who answers for it."""
    return dict(trigger) if trigger.get("automatic") else _some(trigger, ("id", "authority"))


def _decision(decision: Mapping[str, Any]) -> dict[str, Any]:
    found = _some(decision, ("style", "confidence", "breakers"))
    for name in ("tree", "tiers"):
        rows = [_some(_dict(one), ("id", "authority")) for one in _list(decision.get(name))]
        found.update({name: rows} if rows else {})
    against = [_some(_dict(one), ("id", "answer", "when", "overridden_by"))
               for one in _list(decision.get("filters"))]  # fmt: skip
    found.update({"filters": against} if against else {})
    return found


def _checks(verification: Mapping[str, Any], suite: str) -> Iterator[tuple[str, Any]]:
    for item in _list(verification.get(suite)):
        yield from _dict(item).items()


def _some(written: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: written[name] for name in names if name in written}


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []
