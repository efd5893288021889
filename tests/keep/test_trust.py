"""The trust anchor: what was believed stays believed until those who were believed change it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rollback.act.trusting import accept
from rollback.host import Host
from rollback.keep import trust
from rollback.keep.state import StateDir
from rollback.model.errors import JournalError, NotAuthorized
from tests.systems import Shop, build

GUARDED = """places: {far: {path: /srv, may: [read]}}
environments: {production: {confirm: true, window: {hours: "08:00-18:00"}, allows: [none]}}
repository: {path: ., protected: [main]}
triggers:
  - {id: bad, when: {metric: size, above: 5}, respond: {roll_back: flag}, automatic: true}
metrics: {size: {unit: count, source: {command: {argv: [/bin/echo, "3"], number: stdout}}}}
procedures:
  tidy: {title: Tidy, prerequisites: [{checkpoint: good}], steps: [{wait: {for: 1s}}]}
"""
ASKED = """    prerequisites: [{check: limit-right}]
    requires_lower_failed: true
    use_when: [Settings are wrong]
    checklist: [{id: told, item: Users were told, attest: lead, gates: start}]
    on_fail: {climb: full, when: ask}
"""
# each edit lets a run go ahead with less asking, less kept, or less proved
LESS_ASKING = [
    ("    prerequisites: [{check: limit-right}]\n", ""),
    ("keys: [limit], levels", "keys: [party], levels"),  # what the prerequisite asks, hollowed
    ("prerequisites: [{checkpoint: good}]", "prerequisites: []"),
    ("rank: 1\n", "rank: 0\n"), ("requires_lower_failed: true", "requires_lower_failed: false"),
    ("use_when: [Settings are wrong]", "use_when: [Anything]"), ("gates: start", "gates: closing"),
    ("attest: lead", "attest: guest"), ("when: ask}", "when: auto}"),
    ("title: Settings back\n", "title: Settings back\n    emergency: true\n"),
    ("title: Settings back\n", "title: Settings back\n    waives: [confirmation]\n"),
    ("confirm: true", "confirm: false"), (', window: {hours: "08:00-18:00"}', ""),
    ("allows: [none]", "allows: [none, load]"), ("may: [read]", "may: [read, clear]"),
    ("protected: [main]", "protected: []"),
    ("[{restore: {component: config}}]\n    gate: {suites: [smoke]}", "[{restore: {component: config}}]"),
    ("    gate: {suites: [smoke]}", "    gate: {suites: [smoke], known_red: allowed}"),
    ("    - config: {id: app-valid, file: config/app.yaml, keys: [party]}\n", ""),
    ("  smoke:\n", "  retired: [{id: app-valid, by: op, reason: old}]\n  smoke:\n"),
    ("  smoke:\n", "  known_red: [{id: app-valid, owner: op, expires: 2027-01-01, reason: x}]\n  smoke:\n"),
    ("restore: {component: config}}]",
     "restore: {component: config}}, {command: {argv: [x], effects: none, exempt: true}}]"),
    ("restore: {component: config}}]", "restore: {component: config, on_fail: continue}}]"),
    ("{path: config, content: files}", "{path: config, content: files, volatile: true}"),
    ("{path: config, content: files}", "{path: config, content: files, exclude: [app.yaml]}"),
    ("above: 5", "above: 1"), (", anchor: anchor/shop.jsonl", ""),
]  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop, its people pinned."""
    made = build(tmp_path, guardrails=GUARDED)
    line = "    data_loss: settings since the checkpoint\n"
    made.edit(line, line + ASKED)
    state = StateDir.open(made.system, Host())
    assert trust.pinned(state.tree) == ""
    assert trust.keepers(state.tree) == ()
    trust.pin(made.system, state.tree, Host())
    state.close()
    return made


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{id: dee, roles: [guest]}", "{id: dee, roles: [guest, lead]}"),
        ("{roles: [lead, chief], quorum: all}", "{roles: [lead, chief]}"),
        ("{roles: [lead], count: 2}", "{roles: [lead]}"), ("owner: op", "owner: lead"),
        ("people:", "guardrails: {protected_paths: [x]}\npeople:"),
        ("people:", "autonomy: {current: 3, table: {3: {may: [roll-back], confirm: false}}}\npeople:"),
        *LESS_ASKING,
    ],
)  # fmt: skip
def test_every_change_of_people_or_policy_is_noticed(old: str, new: str, shop: Shop) -> None:
    """A role, a quorum, a count, the owner, a guardrail, autonomy, and all that asks for less."""
    shop.edit(old, new)
    state = StateDir.open(shop.system, Host())
    with pytest.raises(NotAuthorized, match="not the ones this state directory trusts") as caught:
        trust.require(shop.system, state.tree)
    assert "rollback trust" in caught.value.hint
    assert [member.id for member in trust.keepers(state.tree)] == ["ada"]
    state.close()


def test_what_says_nothing_about_authority_may_change(shop: Shop) -> None:
    """Titles, checks, budgets."""
    shop.edit("title: Settings back", "title: Other words")
    state = StateDir.open(shop.system, Host())
    trust.require(shop.system, state.tree)
    state.close()


@pytest.mark.parametrize(
    "written", [b"", b"{", b"[]", b"{}", b'{"authority": 3}', b"[" * 50_000, b"\xff\xfe"]
)
def test_an_anchor_that_cannot_be_read_is_no_empty_one(written: bytes, shop: Shop) -> None:
    """Damaged is not the same as never pinned."""
    file = shop.folder / ".rollback" / "trust.json"
    file.write_bytes(written)
    state = StateDir.open(shop.system, Host())
    with pytest.raises(JournalError, match="cannot be read"):
        trust.require(shop.system, state.tree)
    state.close()


def test_people_that_make_no_sense_keep_nothing_open(shop: Shop) -> None:
    """Whoever edits the anchor by hand does not become its keeper by a slip."""
    file = shop.folder / ".rollback" / "trust.json"
    body = json.loads(file.read_text())
    file.write_text(json.dumps({**body, "people": {"owner": 1}}))
    state = StateDir.open(shop.system, Host())
    with pytest.raises(JournalError, match="cannot be read"):
        trust.keepers(state.tree)
    state.close()


def test_the_refusal_names_what_changed(shop: Shop) -> None:
    """So that who looks at the change knows where to look."""
    shop.edit("    prerequisites: [{check: limit-right}]\n", "")
    shop.edit("confirm: true", "confirm: false")
    state = StateDir.open(shop.system, Host())
    with pytest.raises(NotAuthorized) as caught:
        trust.require(shop.system, state.tree)
    for where in ("levels.config", "environments.production", "checks before a start"):
        assert where in caught.value.message
    assert "people," not in caught.value.message
    state.close()


def test_a_pin_of_an_older_shape_says_so_and_its_keepers_may_renew_it(shop: Shop) -> None:
    """It pinned less: nothing is believed in silence, and nobody is locked out."""
    file = shop.folder / ".rollback" / "trust.json"
    body = json.loads(file.read_text())
    old = {key: body[key] for key in ("at", "system", "people")}
    file.write_text(json.dumps({**old, "authority": "0" * 64}))
    with shop.site() as site:
        with pytest.raises(NotAuthorized, match="another version") as caught:
            site.trusted()
        assert "rollback trust" in caught.value.hint
        accept(site, person="ada")
        site.trusted()
    assert json.loads(file.read_text())["format"] == 2
