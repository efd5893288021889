"""Events that a log holds: told to the journal once each, at the time that their line says."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rollback.act.deciding import decide_now
from rollback.act.overhearing import overhear
from rollback.act.site import Site
from rollback.act.told import events_of
from rollback.host import Host, Tap
from rollback.host.clock import iso
from rollback.model.errors import SpecError
from rollback.watch.agent import Agent
from tests.killed import KILLED, CountingTap, DyingTap, in_child, shots
from tests.systems import Shop, build

RULES = """events:
  violation:
    fields: {code: text, session: text, share: number}
    log: {file: logs/audit.jsonl, where: {event: [SECURITY_VIOLATION, BREACH]},
          fields: {session: sessionId}}
  veto:
    fields: {who: text, why: text}
    log: {file: logs/app.log, pattern: "VETO by (?P<who>\\\\w+): (?P<why>.*)"}
triggers:
  - {id: leak, when: {event: violation, where: {code: SEC-PM-004}, within: 1h, count: 2},
     respond: {roll_back: config}}
  - {id: vetoed, when: {event: veto, within: 1h}, respond: {roll_back: flag}}
monitor: {interval: 60s}
verification:"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with two kinds of events that only its logs tell."""
    made = build(tmp_path)
    made.edit("verification:", RULES)
    (made.tree / "logs").mkdir()
    (made.tree / "logs" / "audit.jsonl").touch()
    (made.tree / "logs" / "app.log").touch()
    return made


def ago(minutes: float) -> datetime:
    return datetime.now(UTC) - timedelta(minutes=minutes)


def write(shop: Shop, *records: dict[str, Any], mode: str = "a") -> None:
    """More lines of the audit log."""
    with (shop.tree / "logs" / "audit.jsonl").open(mode) as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def violation(minutes: float, code: str = "SEC-PM-004", **more: Any) -> dict[str, Any]:
    said = {"sessionId" if name == "session" else name: value for name, value in more.items()}
    return {"at": iso(ago(minutes)), "event": "SECURITY_VIOLATION", "code": code, **said}


def heard(site: Site) -> list[dict[str, Any]]:
    """The fields of every event that a log told."""
    overhear(site)
    return [dict(one.fields) for one in events_of(site.journal.events())]


@pytest.mark.requirement("PM-88")
def test_violations_are_counted_by_their_code_and_by_the_time_of_their_line(shop: Shop) -> None:
    """Two of one code fire; one of it and one of another do not, nor one that is two hours old."""
    write(shop, violation(120), violation(5), violation(4, "SEC-PM-009"), {"event": "ROUND"})
    with shop.site() as site:
        assert decide_now(site).respond == "hold"
        write(shop, violation(1, session="s7", share=0.5) | {"event": "BREACH"})
        assert decide_now(site).level == "config"
        found = [(one.kind, one.fields) for one in events_of(site.journal.events())]
        assert found[-1] == ("violation", {"code": "SEC-PM-004", "session": "s7", "share": 0.5})
        assert len(found) == 4
        shop.clock.ahead_s += 3700
        assert decide_now(site).respond == "hold"


def test_a_truth_in_a_log_is_no_number(shop: Shop) -> None:
    """Of `where: {event: [1, yes]}` a line means the event by 1 or 1.0, and by true only where it says so."""
    shop.edit("where: {event: [SECURITY_VIOLATION, BREACH]}", "where: {event: 1, code: [true, 0]}")
    with shop.site() as site:
        write(shop, *({"at": iso(ago(1)), "event": event, "code": code}
                      for event in (1, 1.0, True, "1") for code in (True, 1, 0.0, False)))  # fmt: skip
        overhear(site)
        assert len(events_of(site.journal.events())) == 4  # 1 and 1.0, with true and 0.0


def test_a_line_of_text_tells_what_its_pattern_names(shop: Shop) -> None:
    """Without a time it counts from when it is read; of before anybody listened it does not."""
    log = shop.tree / "logs" / "app.log"
    log.write_text("VETO by ada: long ago\n")
    with shop.site() as site:
        assert heard(site) == []
        with log.open("a") as file:
            file.write("all is well\n[info] VETO by bo: not like that\nVETO by")
        assert heard(site) == [{"who": "bo", "why": "not like that"}]
        with log.open("a") as file:
            file.write(" cyd: nor that\n")
        assert heard(site)[1:] == [{"who": "cyd", "why": "nor that"}]
        assert decide_now(site).level == "flag"


@pytest.mark.parametrize("how", ["renamed", "copied"])
def test_over_a_rotation_each_line_is_told_once(shop: Shop, how: str) -> None:
    """What was not read before it, what came after it, and two lines that say the same."""
    log = shop.tree / "logs" / "audit.jsonl"
    same = violation(3, session="twice")
    with shop.site() as site:
        write(shop, violation(9, session="a"))
        assert len(heard(site)) == 1
        write(shop, violation(8, session="b"), same, same)
        if how == "renamed":
            log.rename(log.with_name("audit.jsonl.1"))
        else:
            shutil.copy(log, log.with_name("audit.jsonl.1"))
            os.truncate(log, 0)
        write(shop, violation(2, session="c"))
        wanted = ["a", "b", "twice", "twice", "c"]
        assert [one["session"] for one in heard(site)] == wanted
        (shop.folder / ".rollback/watch/logs.json").unlink()
        assert [one["session"] for one in heard(site)] == wanted


def test_what_was_rotated_out_of_reach_is_said(shop: Shop) -> None:
    """Once; the new file is read all the same."""
    log = shop.tree / "logs" / "audit.jsonl"
    with shop.site() as site:
        write(shop, violation(9, session="a"))
        heard(site)
        write(shop, violation(8, session="never seen"))
        log.unlink()
        write(shop, violation(2, session="c"))
        assert [one["session"] for one in heard(site)] == ["a", "c"]
        heard(site)
        (missed,) = [event for event in site.journal.events() if event.kind == "event.missed"]
        assert missed.data["file"] == "logs/audit.jsonl"


def test_nobody_can_tell_what_a_log_says_that_cannot_be_read(shop: Shop) -> None:
    """UNKNOWN, not "it did not happen"; the agent goes on, and calls nothing well."""
    (shop.tree / "logs" / "audit.jsonl").unlink()
    with shop.site() as site:
        decision = decide_now(site)
        assert decision.respond != "hold"
        assert "there is no logs/audit.jsonl" in " ".join(decision.reasoning)
        assert Agent(site).tick().failed == {}
        write(shop, violation(2))
        assert decide_now(site).respond == "hold"


def test_killed_at_any_change_each_event_is_told_exactly_once(shop: Shop) -> None:
    """Between the journal and the mark, too."""
    with shop.site() as site:
        heard(site)
    write(shop, violation(9, session="a"), violation(8, session="b"))
    saved = shop.folder.with_name("saved")
    shutil.copytree(shop.folder, saved)

    def look(tap: Tap) -> None:
        with Site.open(shop.system, Host(tap=tap, clock=shop.clock)) as site:
            overhear(site)

    counting = CountingTap()
    look(counting)
    for number, how in shots(counting.points):
        shutil.rmtree(shop.folder)
        shutil.copytree(saved, shop.folder)
        dying = DyingTap(number, how)
        assert in_child(lambda tap=dying: look(tap)) == KILLED, (number, how)  # type: ignore[misc]
        with shop.site() as site:
            assert [one["session"] for one in heard(site)] == ["a", "b"], (number, how)
            site.journal.verify()
    shutil.rmtree(saved)


def test_a_storm_of_lines_is_cut(shop: Shop) -> None:
    """A thousand at one look; whatever they mean, more of them mean no more."""
    write(shop, *(violation(1, session=str(number)) for number in range(1200)))
    with shop.site() as site:
        assert len(heard(site)) == 1000
        assert decide_now(site).level == "config"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "where: {event: [SECURITY_VIOLATION, BREACH]}",
            "time: at",
            "write one of: where, pattern",
        ),
        ("VETO by (?P<who>", "VETO by (?P<whom>", "whom, which is no field of the event"),
        ("VETO by (?P<who>", "VETO by ((?P<who>", "no regular expression"),
        ("logs/app.log", "../app.log", "app.log"),
    ],
)
def test_a_log_that_can_mean_no_event_is_refused(shop: Shop, old: str, new: str, said: str) -> None:
    """When it is declared."""
    shop.edit(old, new)
    with pytest.raises(SpecError) as refused:
        shop.system  # noqa: B018 - it is loaded by looking
    assert said in str(refused.value)
