"""Ladders: people are called one after another, by an injected clock, until somebody has taken it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rollback.act import authorize, calling
from rollback.act.driving import drive
from rollback.act.ladders import acknowledge, calls, ladders
from rollback.act.site import Site
from rollback.act.stopping import retry
from rollback.judge.unenforced import unenforced
from rollback.model.errors import PlanError, Refused
from rollback.model.lifecycle import Run, State
from tests.systems import Shop, build
from tests.watch.places import Place, place, told

NOTIFY = """notify:
  channels: {box: {file: {path: outbox/box.jsonl}}}
  audiences: {people: [box]}
  messages:
    called: {audience: people, urgent: true, title: "{ladder}",
             text: "{role}: {reason} ({state}). {ack_command}"}
    nobody: {audience: people, on: [silent], text: "nobody came: {reason}"}
  ladders:
    all: {title: Everybody, message: called, rungs: [{role: op, within: 0s}, {role: lead, within: 5m},
          {role: chief, within: 15m}]}
people:
"""
STEP = "steps: [{restore: {component: config}}]\n"
OWNER = "{id: ada, roles: [op, lead]}"


def shop_with(
    folder: Path, *, escalate: str = "on_fail: {escalate: all}\n    ", more: str = NOTIFY
) -> Shop:
    """A shop whose level config calls people when its gate stays closed, and a bad release."""
    made = build(folder / "shop")
    made.edit("people:\n", more)
    made.edit(STEP, escalate + STEP)
    with made.site() as site:
        site.checkpoints.create("good")
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    return made


def stopped(shop: Shop, site: Site) -> Run:
    """A run whose gate stays closed: a check wants what no release had."""
    run = authorize.create(site, shop.plan(site, "config"))
    authorize.approve(site, run, person="ada")
    run = drive(site, run, wait=False)
    assert run.state is State.NEEDS_OPERATOR
    return run


def never_proved(shop: Shop) -> None:
    """No release passes the gate of config any more."""
    shop.edit("keys: [limit]", "keys: [limit, never]")


def later(shop: Shop, site: Site, seconds: float) -> None:
    """So much time has passed, and somebody came by."""
    shop.clock.ahead_s += seconds
    calling.look(site)


def called(site: Site) -> list[object]:
    return [event.data["role"] for event in told(site, "ladder.called")]


def texts(shop: Shop) -> list[str]:
    file = shop.folder / "outbox" / "box.jsonl"
    return (
        [json.loads(line)["text"] for line in file.read_text().splitlines()]
        if file.exists()
        else []
    )


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = shop_with(tmp_path)
    never_proved(made)
    return made


@pytest.mark.requirement("MB-58", "QL-43")
def test_each_is_called_inside_its_time_until_the_ladder_ends_in_silence(shop: Shop) -> None:
    """Nobody acknowledges: the first at once, each next one on time, and the end is said loudly."""
    with shop.site() as site:
        run = stopped(shop, site)
        assert called(site) == ["op"]
        for seconds, so_far in ((240, 1), (80, 2), (540, 2), (45, 3), (535, 3)):
            later(shop, site, seconds)
            assert len(called(site)) == so_far
        assert told(site, "ladder.silent") == []
        later(shop, site, 65)
        (silent,) = told(site, "ladder.silent")
        assert silent.data["called"] == ["op", "lead", "chief"] == called(site)
        took = [float(str(event.data["after_s"])) for event in told(site, "ladder.called")]
        assert [t < limit for t, limit in zip(took, (300, 900, 1800), strict=True)] == [True] * 3
        later(shop, site, 100_000)
        assert len(called(site)) == 3
        assert len(told(site, "ladder.silent")) == 1
        assert site.run(run.id).state is State.NEEDS_OPERATOR
    found = texts(shop)
    assert [one.split(":")[0] for one in found[:3]] == [
        "Operator (ada)",
        "Lead (ada, bo, fay)",
        "Chief (cyd)",
    ]
    assert found[3].startswith("nobody came: nobody of op, lead, chief acknowledged within 25 min")
    assert len(found) == 4


@pytest.mark.requirement("MB-58", "QL-49")
def test_an_acknowledgement_stops_the_climb_and_sends_nothing_on(shop: Shop) -> None:
    """By run, by incident, by message or by nothing at all; who said so and when stands in the journal."""
    with shop.site() as site:
        run = stopped(shop, site)
        later(shop, site, 301)
        event = acknowledge(site, run.id, by="bo")
        assert event is not None
        assert (event.data["by"], event.run) == ("bo", run.id)
        assert 301 <= float(str(event.data["after_s"])) < 400
        later(shop, site, 100_000)
        assert called(site) == ["op", "lead"]
        assert told(site, "ladder.silent") == []
        assert site.run(run.id).state is State.NEEDS_OPERATOR
        assert acknowledge(site, run.id, by="ada") is None
        assert acknowledge(site, "all", by="ada") is None
        assert len(told(site, "alert.acknowledged")) == 1


@pytest.mark.parametrize("name", ["", "run", "incident", "ladder", "message", "id of message"])
def test_what_people_are_called_about_has_many_names(shop: Shop, name: str) -> None:
    """Each of them means the ladder; a name that means nothing is refused with what there is."""
    with shop.site() as site:
        run = stopped(shop, site)
        with pytest.raises(PlanError, match="nothing about r9999"):
            acknowledge(site, "r9999", by="bo")
        (rung,) = told(site, "ladder.called")
        names = {"": "", "run": run.id, "incident": run.incident, "ladder": "all", "message": "called",
                 "id of message": str(rung.data["message"])}  # fmt: skip
        assert acknowledge(site, names[name], by="bo") is not None
        assert [one.by for one in ladders(site.journal.events())] == ["bo"]
        with pytest.raises(PlanError, match="nothing waits"):
            acknowledge(site, "", by="bo")


@pytest.mark.requirement("AW-70")
def test_who_is_off_duty_at_three_in_the_morning_is_passed_over(tmp_path: Path) -> None:
    """The next one is called in their place at once, and the journal says who was not there."""
    made = shop_with(tmp_path)
    never_proved(made)
    night = datetime.now(UTC)
    hours = f"{(night + timedelta(hours=6)):%H:%M}-{(night + timedelta(hours=14)):%H:%M}"
    made.edit("op: {title: Operator}", f'op: {{title: Operator, hours: {{hours: "{hours}"}}}}')
    with made.site() as site:
        stopped(made, site)
        assert called(site) == ["lead"]
        (passed,) = told(site, "ladder.passed")
        assert (passed.data["role"], passed.data["because"]) == ("op", "outside of their hours")
        later(made, site, 901)
        assert called(site) == ["lead", "chief"]


def test_where_nobody_is_on_duty_everybody_is_called(tmp_path: Path) -> None:
    """A call too many is better than silence."""
    made = shop_with(tmp_path)
    never_proved(made)
    now = datetime.now(UTC)
    hours = f"{(now + timedelta(hours=6)):%H:%M}-{(now + timedelta(hours=14)):%H:%M}"
    for role in ("op: {title: Operator", "lead: {title: Lead", "chief: {title: Chief"):
        made.edit(role + "}", role + f', hours: {{hours: "{hours}"}}}}')
    with made.site() as site:
        stopped(made, site)
        assert called(site) == ["op", "lead", "chief"]
        assert len(told(site, "ladder.passed")) == 3


def test_a_ladder_ends_with_what_it_is_about(shop: Shop) -> None:
    """Sent on and stopped again it goes on; acknowledged before, it begins anew; given up, it ends."""
    with shop.site() as site:
        run = stopped(shop, site)
        for acknowledged, so_far in ((False, 1), (True, 2)):
            if acknowledged:
                acknowledge(site, run.id, by="ada")
            retry(site, site.run(run.id), by="ada")
            drive(site, site.run(run.id), wait=False)
            assert called(site) == ["op"] * so_far
        site.note(site.run(run.id), "run.abandoned", reason="enough")
        later(shop, site, 301)
        assert called(site) == ["op"] * 2
        assert [event.data["because"] for event in told(site, "ladder.ended")] == [
            f"run {run.id} is ABANDONED"
        ]


@pytest.mark.requirement("QL-42")
def test_a_step_that_fails_calls_people_too(tmp_path: Path) -> None:
    """What was done is taken back, and somebody hears of it."""
    made = shop_with(tmp_path)
    made.edit(STEP, "steps: [{restore: {component: config}}, {command: {argv: [/bin/false]}}]\n")
    with made.site() as site:
        run = authorize.create(site, made.plan(site, "config"))
        authorize.approve(site, run, person="ada")
        run = drive(site, run, wait=False)
        assert run.state in (State.UNDONE, State.NEEDS_OPERATOR)
        assert called(site) == ["op"]


@pytest.mark.requirement("QL-44", "QL-46")
def test_a_refused_run_calls_people_once_with_what_refused_it(tmp_path: Path) -> None:
    """The fourth one in a day is refused, and so is its repetition; one ladder is climbed for both."""
    made = shop_with(tmp_path, escalate="")
    made.edit(
        "levels:\n  flag:",
        "guardrails: {rate_limit: {max: 3, per: 24h}, escalate: all}\nlevels:\n  flag:",
    )
    with made.site() as site:
        for number in range(3):
            (made.tree / ".env").write_text(f"PARTY=true\nOTHER={number}\n")
            run = authorize.create(site, made.plan(site))
            authorize.approve(site, run, person="ada")
            drive(site, run, wait=False)
        assert called(site) == []
        (made.tree / ".env").write_text("PARTY=true\n")
        for _ in range(2):
            with pytest.raises(Refused):
                authorize.create(site, made.plan(site))
            assert called(site) == ["op"]
        later(made, site, 301)
        assert called(site) == ["op", "lead"]
        (begun,) = told(site, "ladder.begun")
        assert "3" in str(begun.data["because"])
        assert acknowledge(site, str(begun.data["id"]), by="ada") is not None
    assert "refused: nothing was begun" in texts(made)[0]
    assert f"rollback ack {begun.data['id']}" in texts(made)[0]


@pytest.mark.requirement("QL-47")
def test_the_agent_calls_the_ladder_that_a_rule_names(tmp_path: Path) -> None:
    """A pattern that nobody knows: a person is called, once, and again only after the hour."""
    rule = "when: {metric: errors, above: 10%}, respond: {"
    here: Place = place(tmp_path, edits={
        "monitor:": NOTIFY.replace("people:\n", "") + "monitor:",
        f"{rule}roll_back: config": f"{rule}escalate: all",
    })  # fmt: skip
    with here.agent() as agent:
        here.read(errors=0.5)
        here.tick(agent, 4)
        assert called(agent.site) == ["op"]
        here.tick(agent, 2)
        assert called(agent.site) == ["op", "lead"]
        (begun,) = told(agent.site, "ladder.begun")
        assert (begun.data["cause"], begun.run) == ("agent.held", "")
        assert acknowledge(agent.site, "", by="cyd") is not None
        here.tick(agent, 30)
        assert called(agent.site) == ["op", "lead"]


@pytest.mark.requirement("AW-71")
def test_people_are_called_while_a_run_waits_for_them(tmp_path: Path) -> None:
    """The ladder of the level's authority; once somebody takes it, nobody may say yes for himself."""
    made = shop_with(
        tmp_path,
        escalate="",
        more=NOTIFY.replace("    all: {", "    all: {self_authorize: [guest], "),
    )
    made.edit("authority: {roles: [lead, chief], quorum: all}",
              "authority: {roles: [lead, chief], quorum: all, ladder: all}")  # fmt: skip
    with made.site() as site:
        run = drive(
            site, authorize.create(site, made.plan(site, "full", requester="dee")), wait=False
        )
        assert run.state is State.WAITING
        assert called(site) == ["op"]
        drive(site, run, wait=False)
        later(made, site, 301)
        assert called(site) == ["op", "lead"]
        acknowledge(site, run.id, by="bo")
        later(made, site, 10_000)
        assert called(site) == ["op", "lead"]
        assert "dee" not in authorize.may_approve(site, site.run(run.id))


def test_a_ladder_without_message_says_it_in_our_own_words(tmp_path: Path) -> None:
    """Who is called, about what, and how it is taken; what is sent to nobody is named by validate."""
    words = NOTIFY[NOTIFY.index("    called:") : NOTIFY.index("    nobody:")]
    made = shop_with(tmp_path, more=NOTIFY.replace(words, "").replace("message: called, ", "").replace(
        "{role: op, within: 0s}", "{role: op, within: 0s, audience: people}"))  # fmt: skip
    never_proved(made)
    assert [where for where, _ in unenforced(made.system)] == ["notify.ladders.all"]
    with made.site() as site:
        run = stopped(made, site)
        later(made, site, 301)
        assert called(site) == ["op", "lead"]
    (text,) = texts(made)
    assert text.endswith(
        f"You are called as Operator (ada). Take it with: rollback ack {run.id} --as PERSON"
    )


@pytest.mark.requirement("AW-26")
def test_a_phone_is_a_persons_task_with_the_time_of_its_acknowledgement(tmp_path: Path) -> None:
    """The chat has the text too; the call is open until somebody says that it was made."""
    more = NOTIFY.replace(
        "channels: {", "channels: {phone: {phone: {who: the engineer on call, role: lead}}, "
    )
    more = more.replace("people: [box]", "people: [box], on-call: [phone, box]")
    more = more.replace(
        "    nobody:",
        '    urgent: {audience: on-call, text: "Critical: {issue}. Authorised by {approver}."}\n    nobody:',
    )
    made = shop_with(tmp_path, escalate="", more=more)
    made.edit(STEP, "steps: [{notify: {message: urgent}}, {restore: {component: config}}]\n")
    with made.site() as site:
        run = authorize.create(site, made.plan(site, "config", reason="the site is down"))
        authorize.approve(site, run, person="ada")
        drive(site, run, wait=False)
        (call,) = calls(site.journal.events())
        assert (
            call.title
            == "Call the engineer on call: Critical: the site is down. Authorised by ada."
        )
        assert call.owner == "lead"
        made.clock.ahead_s += 60
        event = acknowledge(site, call.message, by="bo")
        assert event is not None
        assert event.at > call.at
        assert calls(site.journal.events()) == []
    assert texts(made) == ["Critical: the site is down. Authorised by ada."]


@pytest.mark.requirement("PM-65")
def test_a_message_comes_again_until_what_it_is_about_is_over(tmp_path: Path) -> None:
    """Every half hour, with the time of the next one; after the end no more, after a gap no burst."""
    more = NOTIFY.replace("    nobody:", '    news: {audience: people, on: [mitigated], every: 30m, '
                          'text: "ALERT {reason}; {impact}; next word {next_update}"}\n'
                          "    nobody:")  # fmt: skip
    made = shop_with(tmp_path, escalate="", more=more)
    never_proved(made)

    def news() -> list[Any]:
        return [one for one in texts(made) if one.startswith("ALERT")]

    with made.site() as site:
        run = stopped(made, site)
        assert len(news()) == 1
        for seconds, so_far in ((1740, 1), (70, 2), (1720, 2), (90, 3), (50_000, 4), (60, 4)):
            later(made, site, seconds)
            assert len(news()) == so_far
        sent = told(site, "message.queued")[-1]
        due = datetime.fromisoformat(sent.at) + timedelta(minutes=30)
        assert news()[-1].endswith(f"next word {due:%Y-%m-%d %H:%M:%S} UTC")
        made.edit("keys: [limit, never]", "keys: [limit]")
    with made.site() as site:
        site.note(site.run(run.id), "run.abandoned", reason="given up")
        later(made, site, 4000)
        assert len(news()) == 4


def test_a_run_that_takes_too_long_is_said_to_once_for_each_budget(tmp_path: Path) -> None:
    """By the clock that nobody can set, and only while it is open."""
    more = NOTIFY.replace("    nobody:", '    late: {audience: people, on: [overdue], '
                          'text: "{run}: {which} was due in {urgency}"}\n    nobody:')  # fmt: skip
    made = shop_with(tmp_path, escalate="", more=more)
    with made.site() as site:
        run = drive(site, authorize.create(site, made.plan(site, "full")), wait=False)
        for seconds in (59, 2, 60, 180, 60, 600):
            later(made, site, seconds)
    assert texts(made) == [
        f"{run.id}: mitigated was due in 1 min",
        f"{run.id}: complete was due in 5 min",
    ]


def test_two_who_come_by_at_once_call_nobody_twice(shop: Shop) -> None:
    """Who is second leaves it to the first."""
    with shop.site() as site:
        stopped(shop, site)
        with site.state.tree.lock(calling.LOCK, clock=site.host.clock), shop.site() as other:
            shop.clock.ahead_s += 301
            calling.look(other)
            assert called(site) == ["op"]
        later(shop, site, 0)
        later(shop, site, 0)
        assert called(site) == ["op", "lead"]
    assert len(texts(shop)) == 2


@pytest.mark.requirement("PM-20")
def test_what_nobody_did_in_its_time_calls_a_ladder(tmp_path: Path) -> None:
    """A recommendation past its urgency: with the rule and its time, until somebody takes it."""
    words = NOTIFY.replace("people:\n", "").replace(
        "message: called, ", "message: called, on: [overdue], "
    )
    words = words.replace(
        "{role}: {reason} ({state})", "{role}: {trigger} waits longer than {urgency}"
    )
    rule = "when: {metric: errors, above: 10%}, respond: {roll_back: config}"
    here = place(tmp_path, edits={
        "monitor:": words + "monitor:", rule: f"{rule}, urgency: 15m", "current: 4": "current: 2",
    })  # fmt: skip
    with here.agent() as agent:
        here.read(errors=0.5)
        here.tick(agent, 14)
        assert called(agent.site) == []
        here.tick(agent, 3)
        assert called(agent.site) == ["op"]
        (begun,) = told(agent.site, "ladder.begun")
        assert begun.data["cause"] == "deadline.overdue"
        here.tick(agent, 5)
        assert called(agent.site) == ["op", "lead"]
        acknowledge(agent.site, "", by="bo")
        here.tick(agent, 30)
        assert called(agent.site) == ["op", "lead"]
    assert "errors-high waits longer than 15 min" in texts(here.shop)[0]


def test_killed_between_the_message_and_its_note_it_is_sent_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes next finds the message queued, and notes that the rung was called."""
    with shop.site() as site:
        stopped(shop, site)
        shop.clock.ahead_s += 301

        def killed(self: Site, kind: str, /, **data: Any) -> Any:
            if kind == "ladder.called":
                raise KeyboardInterrupt
            return tell(self, kind, **data)

        tell = Site.tell
        with monkeypatch.context() as patched:
            patched.setattr(Site, "tell", killed)
            with pytest.raises(KeyboardInterrupt):
                calling.look(site)
        assert called(site) == ["op"]
        later(shop, site, 0)
        assert called(site) == ["op", "lead"]
        assert len(told(site, "message.queued")) == 2
    assert len(texts(shop)) == 2
