"""Bad approvals and policies by the command line: a declared status, one line each, nothing changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from rollback.cli.show import LINE_MAX
from tests.cli.program import Typed, typed
from tests.cli.refused import refused_with_its_line
from tests.systems import Shop, build

CONFIG = "authority: {roles: [op], alone: true}\n    target"  # of level config of the shop
MEMBER = "{id: fay, roles: [lead]}"

# -- policies ------------------------------------------------------------------------------

AUTHORITY = (
    "roles: []", "roles: '*'", "roles: ['*']", "roles: [op, '*']", "roles: [ghost]", "roles: 1",
    "roles: null", "roles: {op: lead}", "roles: [1]", "roles: ['op ']", "roles: [[op]]", "roles: [OP]",
    "roles: [op], count: 0", "roles: [op], count: -1", "roles: [op], count: 51",
    "roles: [op], count: 1.5", "roles: [op], count: true", "roles: [op], count: '2'",
    "roles: [op], count: .nan", "roles: [op], count: 99", "roles: [op], count: null",
    "roles: [op], quorum: most", "roles: [op], quorum: ALL", "roles: [op], quorum: 1",
    "roles: [op], quorum: [any]", "roles: [op, lead], quorum: ordered",
    "roles: [op, lead], quorum: ordered, next_after: 0s",
    "roles: [op, lead], quorum: ordered, next_after: -5m",
    "roles: [op, lead], quorum: ordered, next_after: 5", "roles: [op], next_after: 5m",
    "roles: [chief, chief], quorum: all", "roles: [op], alone: perhaps", "roles: [op], alone: 1",
    "roles: [op], alone: null", "roles: [op], answer_within: 0s", "roles: [op], answer_within: -1m",
    "roles: [op], answer_within: soon", "roles: [op], answer_within: .inf",
    "roles: [op], answer_within: 5", "roles: [op], unanswered: next", "roles: [op], unanswered: person",
    "roles: [op], unanswered: yes", "roles: [op], ladder: nowhere", "roles: [op], ladder: 1",
    "roles: [op], also_inform: [ghost]", "roles: [op], aprovals: 2", "roles: [op], standing: true",
    "roles: [op], standing: {uses: 0}", "roles: [op], standing: {uses: 101}",
    "roles: [op], standing: {uses: 1.5}", "roles: [op], standing: {longest: 0s}",
    "roles: [op], standing: {longest: 400d}", "roles: [op], standing: {until: tomorrow}",
    "roles: [op], standing: {until: 2026-02-31}", "roles: [op], standing: {triggers: [none]}",
    "roles: [op], standing: {condition: ''}", "roles: [op], standing: {forever: true}",
    "quorum: any", "",
)  # fmt: skip
PEOPLE = (
    "{id: fay, roles: []}", "{id: fay}", "{roles: [lead]}", "{id: bo, roles: [lead]}",
    "{id: '*', roles: [lead]}", "{id: Fay, roles: [lead]}", "{id: fay, roles: [ghost]}",
    "{id: fay, roles: ['*']}", "{id: fay, roles: lead}", '{id: "fay\\n", roles: [lead]}',
    "{id: fay, roles: [lead], key: 1}", "{id: fay, roles: [lead], key: ''}",
    "{id: fay, roles: [lead], admin: true}", "{id: fay, roles: [lead], hours: always}",
    "{id: fay, roles: [lead], hours: {hours: '9-17'}}",
    "{id: fay, roles: [lead], hours: {hours: '24:00-25:00'}}",
    "{id: fay, roles: [lead], hours: {hours: '09:00-09:00'}}",
    "{id: fay, roles: [lead], hours: {days: []}}", "{id: fay, roles: [lead], hours: {days: [funday]}}",
    "{id: fay, roles: [lead], hours: {zone: Mars/Base}}", "{id: fay, roles: [lead], hours: {zone: ''}}",
    "{id: fay, roles: [lead], hours: {zone: ../../etc/passwd}}",
    "{id: fay, roles: [lead], hours: {from: 9}}", "fay",
)  # fmt: skip
GLASS = (
    "{}", "{roles: [op]}", "{review: [lead]}", "{roles: [], review: [lead]}",
    "{roles: ['*'], review: [lead]}",
    "{roles: [op], review: []}", "{roles: [ghost], review: [lead]}", "{roles: [op], review: [ghost]}",
    "{roles: [op], review: [lead], review_within: 0s}", "{roles: [op], review: [lead], quietly: true}",
    "true",
)  # fmt: skip
GUARDRAILS = (
    "rate_limit: {max: 0, per: 24h}", "rate_limit: {max: 1}", "rate_limit: {max: 10001, per: 24h}",
    "rate_limit: {max: 1, per: always}", "rate_limit: {max: .inf, per: 24h}", "rate_limit: 3",
    "disk: {factor: 0.9}", "disk: {factor: .nan}", "disk: {reserve: -1 MiB}", "disk: {at_least: much}",
    "window: {hours: '8-18'}", "window: {zone: Nowhere}", "window: always", "max_lost_share: 200%",
    "max_lost_share: -1%", "max_lost_share: few", "blast_radius: {components: 0}",
    "blast_radius: {paths: -1}", "blast_radius: {files: 3}", "blast_radius: 5", "staging_first: nowhere",
    "escalate: nowhere", "dry_run_first: sometimes", "climb_in_order: 1", "conditions: [{id: a}]",
    "conditions: [{id: a, metric: ghost, above: 1}]", "conditions: [{id: a, fact: b, above: 1}]",
    "conditions: [{id: a, fact: b, refuse: perhaps}]", "conditions: [{id: 'A B', fact: b}]",
    "security_floor: {reason: x}", "security_floor: {reason: x, not_before: 2026-02-31}",
    "protected_paths: [/etc]", "protected_paths: [../x]", "everything: true",
)  # fmt: skip
AUTONOMY = (
    "{current: -1}", "{current: 3.5}", "{current: all}", "{current: 7, table: {3: {may: [check]}}}",
    "{table: {3: {may: [fly]}}}", "{table: {3: {}}}", "{default_when_unknown: act}", "{currnt: 3}",
)  # fmt: skip
LEVELS = (
    "waives: [everything]", "waives: all", "prerequisites: [{}]", "prerequisites: [{record: ghost}]",
    "prerequisites: [{attest: ghost}]", "prerequisites: [{fact: 'A B'}]", "prerequisites: [{check: ghost}]",
    "prerequisites: [{fact: a, attest: lead}]", "requires_lower_failed: maybe", "emergency: 1",
    "checklist: [{id: a, item: x, record: ghost, gates: start}]",
    "checklist: [{id: a, item: x, attest: ghost, gates: start}]",
    "checklist: [{id: a, item: x, attest: op, gates: never}]",
)  # fmt: skip


def policies() -> Iterator[tuple[str, str, str]]:
    """Each as what stands in the declaration, what stands there instead, and its name."""
    for words in AUTHORITY:
        yield CONFIG, f"authority: {{{words}}}\n    target", f"authority {words}"
    for words in PEOPLE:
        yield MEMBER, words, f"member {words}"
    for words in GLASS:
        yield "  owner: op\n", f"  owner: op\n  break_glass: {words}\n", f"glass {words}"
    for words in GUARDRAILS:
        yield "levels:\n  flag:", f"guardrails: {{{words}}}\nlevels:\n  flag:", f"guardrail {words}"
    for words in AUTONOMY:
        yield "people:\n", f"autonomy: {words}\npeople:\n", f"autonomy {words}"
    for words in LEVELS:
        yield f"    {CONFIG}", f"    {words}\n    {CONFIG}", f"level {words}"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A declaration that is right, for each to be made wrong, and put right again."""
    return build(tmp_path_factory.mktemp("policies") / "shop")


@pytest.mark.parametrize(
    ("old", "new"), [one[:2] for one in policies()], ids=[one[2] for one in policies()]
)
def test_a_bad_policy_is_refused_with_its_line_and_changes_nothing(
    old: str, new: str, shop: Shop
) -> None:
    """By `validate`, before anything else reads it."""
    refused_with_its_line(shop, old, new)


def test_there_are_as_many_as_promised() -> None:
    """A hundred and fifty, approvals and policies together."""
    assert len(list(policies())) + len(FILES) >= 150


def reasons(said: Typed) -> list[str]:
    """The lines that say why; each is one, and what to type follows it."""
    assert "Traceback" not in said.err
    lines = said.err.splitlines()
    assert lines
    assert all(len(line) <= LINE_MAX for line in lines)
    assert any(line.startswith("  try: ") for line in lines) or len(lines) == 1
    return [line for line in lines if not line.startswith("  try: ")]


# -- approvals -----------------------------------------------------------------------------


@dataclass
class Waiting:
    """A run of level full that waits for lead and chief, and what bo would sign."""

    shop: Shop
    asked: dict[str, Any]


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Waiting:
    """The shop with a bad release."""
    made = build(tmp_path_factory.mktemp("approvals") / "shop")
    with made.site() as site:
        site.checkpoints.create("before-release")
    (made.tree / "pages" / "index.html").write_text("<h1>broken</h1>\n")
    assert typed(made.folder, "run", "full", "--as", "dee").status == 4
    asked = typed(made.folder, "approval", "export", "r0001", "--as", "bo")
    assert asked.status == 0
    return Waiting(made, json.loads(asked.out))


Spoil = Callable[[dict[str, Any]], bytes]


def text(written: str | bytes) -> Spoil:
    """A file with this in it."""
    return lambda _asked: written if isinstance(written, bytes) else written.encode()


def field(name: str, value: Any) -> Spoil:
    """The approval with another value there."""
    return lambda asked: json.dumps({"approval": {**asked["approval"], name: value}}).encode()


def without(name: str) -> Spoil:
    """The approval that lacks a field."""
    return lambda asked: json.dumps(
        {"approval": {k: v for k, v in asked["approval"].items() if k != name}}
    ).encode()


def twice(name: str) -> Spoil:
    """The approval that says something two ways."""
    return lambda asked: (
        json.dumps(asked).replace(f'"{name}":', f'"{name}": "other", "{name}":', 1).encode()
    )


NAMES = (
    "run",
    "plan",
    "host",
    "policy",
    "person",
    "nonce",
    "given",
    "expires",
    "answer",
    "note",
    "signature",
)
FILES: dict[str, tuple[Spoil, int]] = {
    **{f"{name} is there twice": (twice(name), 2) for name in (*NAMES, "approval")},
    **{f"no {name}": (without(name), 2) for name in NAMES},
    **{f"{name} is {value!r}": (field(name, value), 2)
       for name in NAMES for value in (None, 1, [], {"a": 1})},
    "empty": (text(""), 2), "null": (text("null"), 2), "a list": (text("[]"), 2), "a number": (text("1"), 2),
    "nothing in it": (text("{}"), 2), "no text": (text(b"\xff\xfe{}"), 2), "NaN": (text("NaN"), 2),
    "torn": (lambda asked: json.dumps(asked).encode()[:-40], 2),
    "two of them": (lambda asked: json.dumps(asked).encode() * 2, 2),
    "too deep": (text("[" * 100_000), 2), "too much": (text(b" " * (2 << 20)), 2),
    "a list of it": (lambda asked: json.dumps([asked]).encode(), 2),
    "more in it": (field("admin", "yes"), 2), "yaml": (text("approval: {run: r0001}"), 2),
    "of no run": (field("run", "r0099"), 3), "of any run": (field("run", "*"), 3),
    "of last": (field("run", "last"), 4), "of another plan": (field("plan", "0" * 64), 4),
    "of another host": (field("host", "elsewhere"), 4), "of another policy": (field("policy", "0" * 64), 4),
    "of a stranger": (field("person", "mallory"), 4), "of a guest": (field("person", "dee"), 4),
    "expired": (field("expires", "2020-01-01T00:00:00Z"), 4), "no time": (field("given", "now"), 4),
    "in the future": (field("given", "2099-01-01T00:00:00Z"), 4),
    "an answer that is none": (field("answer", "Y"), 4),
    "for ever": (field("expires", "2099-01-01T00:00:00Z"), 4),
    "with a false signature": (field("signature", "x"), 4),
    "a name of 2 KiB": (field("person", "x" * 2048), 4), "a name in red": (field("person", "\x1b[31mbo"), 4),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "status"), list(FILES.values()), ids=list(FILES))
def test_a_bad_approval_file_is_refused_and_changes_nothing(
    spoil: Spoil, status: int, waiting: Waiting
) -> None:
    """Shapes are refused as a file (2), what they say as no authority (4), or as no such run (3)."""
    file = waiting.shop.folder.parent / "approval.json"
    file.write_bytes(spoil(waiting.asked))
    before, count = waiting.shop.bytes(), len(waiting.shop.lines())
    said = typed(waiting.shop.folder, "approval", "import", str(file))
    assert said.status == status, said.err
    assert len(reasons(said)) == 1
    assert "\x1b" not in said.err
    assert waiting.shop.bytes() == before
    new = [line["kind"] for line in waiting.shop.lines()[count:]]
    assert new == (["approval.refused"] if status == 4 else [])


def test_the_file_that_they_were_made_of_is_good(waiting: Waiting) -> None:
    """In any order of its keys; last, since it is taken in."""
    approval = dict(reversed(waiting.asked["approval"].items()))
    file = waiting.shop.folder.parent / "good.json"
    file.write_text(json.dumps({"approval": approval}, indent=3))
    assert typed(waiting.shop.folder, "approval", "import", str(file)).status == 0
