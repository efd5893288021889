"""People are told while the suites work, not after them; no channel holds the gate up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rollback.act import authorize
from rollback.act.back import undo_plan
from rollback.act.driving import drive
from rollback.act.site import Site
from rollback.host import Clock
from rollback.model.event import Event
from rollback.model.lifecycle import Run, State
from tests.systems import Shop, build
from tests.tell.test_message import listening

STEP = "steps: [{restore: {component: config}}]"


FILE = "{file: {path: outbox/users.jsonl}}"


def opened(folder: Path, users: str = FILE) -> Shop:
    """A shop whose level config tells users in a step, and its team at some states."""
    made = build(folder / "shop")
    made.edit(STEP, STEP.replace("}]", "}, {notify: {message: back}}]"))
    made.edit("people:\n", f"""notify:
  channels:
    users: {users}
    team: {{file: {{path: outbox/team.jsonl}}}}
  audiences: {{users: [users], team: [team]}}
  messages:
    back: {{audience: users, text: "we went back to the state of {{target_at}}, now is {{now}}"}}
    state: {{audience: team, text: "run {{run}} at level {{level}} is {{state}}",
            on: [mitigated, complete, needs-operator, undone]}}
people:
""")  # fmt: skip
    with made.site() as site:
        site.checkpoints.create("before-release")
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    return made


def texts(shop: Shop, channel: str) -> list[str]:
    """What arrived there so far."""
    file = shop.folder / "outbox" / f"{channel}.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [json.loads(line)["text"] for line in lines]


def gone_back(shop: Shop, listen: Callable[[Site, Event], None] = lambda _s, _e: None) -> Run:
    """A run of level config, driven as the command line does."""
    heard: list[Site] = []
    with shop.site(listen=lambda event: listen(heard[0], event) if heard else None) as site:
        heard.append(site)
        run = authorize.create(site, shop.plan(site, "config"))
        authorize.approve(site, run, person="ada")
        return drive(site, run, wait=False)


def kinds(shop: Shop) -> list[str]:
    return [f"{one['kind']} {one['data'].get('name', '')}".strip() for one in shop.lines()]


def test_users_and_team_are_told_before_the_first_suite_ends(tmp_path: Path) -> None:
    """What a step queued and what the state calls for stands in its channel when a suite reports."""
    shop = opened(tmp_path)
    seen: list[Any] = []

    def heard(_site: Site, event: Event) -> None:
        if event.kind == "suite.ended":
            seen.append((len(texts(shop, "users")), texts(shop, "team")))

    assert gone_back(shop, heard).state is State.COMPLETE
    assert seen == [(1, ["run r0001 at level config is mitigated"])]
    told = kinds(shop)
    assert told.index("message.delivered back") < told.index("suite.ended")
    assert told.count("message.delivered back") == 1
    assert texts(shop, "team") == ["run r0001 at level config is mitigated",
                                   "run r0001 at level config is complete"]  # fmt: skip


def test_a_dead_channel_holds_up_nothing(tmp_path: Path) -> None:
    """The run ends while it still hangs; its failure is noted by the process that carries it."""
    with listening(silent=True) as (port, got):
        hook = f'{{webhook: {{url: "http://127.0.0.1:{port}/", within: 3s}}}}'
        shop = opened(tmp_path, hook)
        run = gone_back(shop)
        assert run.state is State.COMPLETE
        told = [one for one in kinds(shop) if one.startswith(("message", "gate", "suite"))]
        assert told[:3] == [
            "message.queued back",
            "message.queued state",
            "message.delivered state",
        ]
        assert "message.failed back" not in told[: told.index("suite.ended")]
        assert texts(shop, "team")[-1] == "run r0001 at level config is complete"
        assert Clock().poll(lambda: "message.failed back" in kinds(shop), within_s=60)
    assert len(got) == 1
    assert kinds(shop).count("message.failed back") == 1


def test_a_run_that_takes_back_says_so(tmp_path: Path) -> None:
    """Its state is about what another run did; a stop for a person is said in words."""
    shop = opened(tmp_path)
    first = gone_back(shop)
    with shop.site() as site:
        plan = undo_plan(site, site.run(first.id), run="r0002", requester="ada", reason="")
        run = authorize.create(site, plan)
        authorize.approve(site, run, person="ada")
        drive(site, run, wait=False)
    assert (
        texts(shop, "team")[-1]
        == "run r0002 at level config is done: what run r0001 did is taken back"
    )
    (shop.tree / "config" / "app.yaml").unlink()
    shop.edit("keys: [limit]", "keys: [limit, never]")
    assert gone_back(shop).state is State.NEEDS_OPERATOR
    assert texts(shop, "team")[-1] == "run r0003 at level config is stopped: a person is needed"


def test_times_in_messages_are_for_people(tmp_path: Path) -> None:
    """To the second, with the zone; nobody reads microseconds."""
    shop = opened(tmp_path)
    gone_back(shop)
    (text,) = texts(shop, "users")
    words = text.replace(", now is", "").split(" state of ")[1].split()
    assert [len(word) for word in words] == [10, 8, 3, 10, 8, 3]
    assert words[2] == words[5] == "UTC"
