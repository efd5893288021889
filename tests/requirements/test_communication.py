"""Who is told what: the declared texts reach the channel of those whom the level concerns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from rollback import declare
from rollback.act import authorize
from rollback.act.afterwards import settle
from rollback.act.engine import roll_back
from rollback.tell.facts import facts
from rollback.tell.message import render
from tests.systems import Shop, build

SYSTEMS = Path(__file__).parents[2] / "systems"
STEPS = "    steps: [{restore: {component: config}}]\n"
FULL = "      - restore: {component: pages}\n"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with a checkpoint and a bad release."""
    made = build(tmp_path)
    with made.site() as site:
        site.checkpoints.create("good")
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    (made.tree / "pages" / "index.html").write_text("<h1>broken</h1>\n")
    return made


def told(shop: Shop, channel: str) -> list[str]:
    """The texts that arrived there."""
    file = next(shop.folder.rglob(f"{channel}.jsonl"), None)
    return [json.loads(line)["text"] for line in file.read_text().splitlines()] if file else []


def went_back(shop: Shop, level: str) -> None:
    """A run of that level, approved by ada, came as far as it goes, and its messages went out."""
    with shop.site() as site:
        run = authorize.create(site, shop.plan(site, level))
        authorize.approve(site, run, person="ada")
        assert "run.mitigated" in settle(site, roll_back(site, run.id)).moments


@pytest.mark.parametrize(
    ("system", "level", "message"),
    [
        pytest.param("party_mode", "flag", "users-flag",
                     marks=pytest.mark.requirement("PM-66")),
        pytest.param("party_mode", "configuration", "users-configuration",
                     marks=pytest.mark.requirement("PM-68")),
        pytest.param("party_mode", "code", "users-code",
                     marks=pytest.mark.requirement("PM-70")),
        pytest.param("ai_workflow", "release", "going-back",
                     marks=pytest.mark.requirement("AW-21")),
    ],
)  # fmt: skip
def test_users_read_the_declared_text_in_their_channel(
    system: str, level: str, message: str, shop: Shop
) -> None:
    """Word for word, once, sent by a step of that level."""
    theirs = declare.load(SYSTEMS / f"{system}.yaml", environ={})
    assert message in [getattr(step, "message", "") for step in theirs.levels[level].steps]
    words = theirs.notify.messages[message]
    assert words.audience == "users"
    notify = {
        "channels": {"box": {"file": {"path": "outbox/box.jsonl"}}}, "audiences": {"users": ["box"]},
        "messages": {message: {"audience": "users", "text": words.text}},
    }  # fmt: skip
    shop.edit("verification:\n", yaml.safe_dump({"notify": notify}) + "verification:\n")
    shop.edit(STEPS, STEPS.replace("}}]", f"}}}}, {{notify: {{message: {message}}}}}]"))
    went_back(shop, "config")
    known = facts(shop.system, now=shop.clock.now(), state=shop.system.state_path)
    text, missing = render(words.text, known)
    assert not missing
    assert told(shop, "box") == [text]


@pytest.mark.requirement("MB-77")
def test_the_team_hears_of_the_small_level_and_all_stakeholders_of_the_large_one(
    shop: Shop,
) -> None:
    """Who is on a channel that a level does not concern hears nothing of it."""
    shop.edit("verification:\n", """notify:
  channels:
    team: {file: {path: outbox/team.jsonl}}
    customers: {file: {path: outbox/customers.jsonl}}
  audiences: {team: [team], stakeholders: [team, customers]}
  messages:
    small: {audience: team, text: "a component goes back"}
    large: {audience: stakeholders, text: "everything goes back"}
verification:
""")  # fmt: skip
    shop.edit(STEPS, "    steps: [{notify: {message: small}}, {restore: {component: config}}]\n")
    shop.edit(FULL, "      - notify: {message: large}\n" + FULL)
    shop.edit("{roles: [lead, chief], quorum: all}", "{roles: [op], alone: true}")
    went_back(shop, "config")
    assert (told(shop, "team"), told(shop, "customers")) == (["a component goes back"], [])
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 98\n")
    went_back(shop, "full")
    assert told(shop, "team") == ["a component goes back", "everything goes back"]
    assert told(shop, "customers") == ["everything goes back"]
