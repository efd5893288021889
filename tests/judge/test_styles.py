"""The styles of deciding, on the five declared systems: the rules of their tables, at their edges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rollback.kinds  # noqa: F401 - registers every kind
from rollback.declare import load
from rollback.judge.condition import Known, Told, evaluate
from rollback.judge.decision import Decision, ask_tree, decide
from rollback.judge.match import weight
from rollback.judge.unasked import ask_first
from rollback.model.finding import Answer, Sample
from rollback.model.policy import Condition
from rollback.model.system import System

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SYSTEMS = Path(__file__).resolve().parents[2] / "systems"


@cache
def system(name: str) -> System:
    """One of the declared systems."""
    return load(SYSTEMS / f"{name}.yaml", environ={})


def reading(metric: str, value: float | None, *, ago_s: float = 0.0) -> Sample:
    """One reading, so many seconds ago."""
    at = NOW - timedelta(seconds=ago_s)
    return Sample(
        metric, value, "fraction", at, 60.0, 100, note="" if value is not None else "gone"
    )


def told(kind: str, *, ago_s: float = 60.0, **fields: str) -> Told:
    """An event, so many seconds ago."""
    return Told(kind, NOW - timedelta(seconds=ago_s), fields)


def known(
    readings: Mapping[str, float | None] | None = None, *events: Told, facts: Mapping[str, str] | None = None,
    history: Mapping[str, list[Sample]] | None = None, gap_s: float | None = None,
) -> Known:  # fmt: skip
    """What is known at noon."""
    return Known(
        {name: reading(name, value) for name, value in (readings or {}).items()},
        facts or {}, events, history=history or {}, now=NOW, gap_s=gap_s,
    )  # fmt: skip


def short(found: Decision) -> tuple[str, str, str]:
    """Which rule, what it calls for."""
    return found.trigger, found.respond, found.level or found.what


# -- ordered tree and scores (quantum_lattice) -------------------------------------------------

WELL = {
    "availability": 1.0, "error_rate": 0.0, "server_errors": 0.0, "database_issues": 0.0,
    "recent_deployment": 0.0, "affected_users": 0.5, "pending": 0.0,
}  # fmt: skip


@pytest.mark.requirement("QL-07", "QL-08", "QL-09", "QL-10", "QL-11", "QL-12", "QL-13", "QL-14")
@pytest.mark.parametrize(
    ("readings", "facts", "wanted"),
    [
        ({"availability": 0.009}, {}, ("down", "roll-back", "fast")),
        ({}, {"service_down": "true"}, ("down", "roll-back", "fast")),
        ({"server_errors": 0.1}, {}, None),
        ({"server_errors": 0.101}, {}, ("server-errors", "roll-back", "fast")),
        ({}, {"auth_broken": "yes"}, ("authentication", "roll-back", "fast")),
        ({}, {"payment_broken": "yes"}, ("payment", "roll-back", "fast")),
        ({}, {"migration_failed": "yes"}, ("migration", "roll-back", "full")),
        ({"affected_users": 0.049}, {}, ("few-users", "watch", "affected_users")),
        ({"affected_users": 0.05}, {}, None),
        ({}, {"ui_only": "yes"}, ("only-pages", "observe", "900 s")),
        ({}, {"hotfix_minutes": "14"}, ("hotfix", "attempt", "hotfix")),
        ({}, {"hotfix_minutes": "15"}, ("hotfix", "evaluate", "")),
        ({"availability": 0.0, "server_errors": 0.5}, {}, ("down", "roll-back", "fast")),
    ],
)  # fmt: skip
def test_the_first_yes_of_the_tree_decides(
    readings: dict[str, float], facts: dict[str, str], wanted: tuple[str, str, str] | None
) -> None:
    """Each question alone, at its edge; of two, the earlier one."""
    found = ask_tree(system("quantum_lattice"), known({**WELL, **readings}, facts=facts))
    assert (found and (found.trigger, found.word, found.what)) == wanted


@pytest.mark.requirement("QL-18", "QL-19", "QL-20", "QL-21", "QL-22", "QL-52", "QL-50")
@pytest.mark.parametrize(
    ("readings", "respond", "level", "confidence"),
    [
        ({"availability": 0.499}, "roll-back", "fast", 0.99),
        ({"availability": 0.5}, "hold", "", 0.95),
        ({"error_rate": 0.101}, "roll-back", "fast", 0.95),
        ({"error_rate": 0.1}, "hold", "", 0.70),  # 0.70 is not above 0.70: written down, not acted
        ({"error_rate": 0.05}, "hold", "", 0.95),
        ({"database_issues": 1.0, "recent_deployment": 1.0}, "escalate", "", 0.90),
        ({"database_issues": 1.0}, "hold", "", 0.95),
        ({"recent_deployment": 1.0}, "hold", "", 0.95),
    ],
)  # fmt: skip
def test_scores_act_ask_or_only_write_down(
    readings: dict[str, float], respond: str, level: str, confidence: float
) -> None:
    """Both limits of confidence are strict."""
    policy = system("quantum_lattice").decision.model_copy(update={"style": "scored"})
    found = decide(system("quantum_lattice").having(decision=policy, triggers=()),
                   known({**WELL, **readings}))  # fmt: skip
    assert (found.respond, found.level, found.confidence) == (respond, level, confidence)


@pytest.mark.requirement("QL-45")
@pytest.mark.parametrize("current", [1, 2, 3, 4])
@pytest.mark.parametrize("environment", ["", "staging"])
def test_what_concerns_the_database_is_never_carried_out_unasked(
    current: int, environment: str
) -> None:
    """It needs `full`: whatever may be done unasked, two people have to say yes first.

    Trouble in the database just after a deployment calls people instead; the ladder says so too.
    """
    declared = system("quantum_lattice")
    free = declared.autonomy.model_copy(update={"current": current})
    found = decide(declared.having(autonomy=free, triggers=()),
                   known(WELL, facts={"migration_failed": "yes"}))  # fmt: skip
    assert short(found) == ("migration", "roll-back", "full")
    why = ask_first(declared.having(autonomy=free), environment, found.trigger,
                    declared.levels["full"].authority)  # fmt: skip
    assert why, "it would have been carried out"
    ill = {**WELL, "database_issues": 1.0, "recent_deployment": 1.0}
    scored = declared.decision.model_copy(update={"style": "scored"})
    assert decide(declared.having(decision=scored, triggers=()), known(ill)).respond == "escalate"
    (ladder,) = declared.notify.ladders.values()
    assert "the database is involved" in ladder.reasons


def test_where_tree_and_scores_disagree_the_stricter_holds() -> None:
    """The tree would look on, since few are affected; half of the probes are not answered."""
    readings = {**WELL, "affected_users": 0.01, "availability": 0.4}
    found = decide(system("quantum_lattice").having(triggers=()), known(readings))
    assert short(found) == ("half-away", "roll-back", "fast")
    assert [match.trigger for match in found.matches] == ["few-users", "half-away"]


@pytest.mark.requirement("QL-51")
def test_three_in_a_row_and_a_success_counts_anew() -> None:
    """F F S F F is none; F F F is one. A gap in which nobody looked breaks the row."""
    when = system("quantum_lattice").triggers[0].when

    def asked(*values: float, gap_s: float | None = None, every_s: float = 60.0) -> Answer:
        past = [reading("availability", value, ago_s=every_s * (len(values) - 1 - place))
                for place, value in enumerate(values[:-1])]  # fmt: skip
        return evaluate(when, known({"availability": values[-1]}, history={"availability": past},
                                    gap_s=gap_s))[0]  # fmt: skip

    assert asked(0.5, 0.5, 1.0, 0.5, 0.5) is Answer.FAIL
    assert asked(0.5, 0.5, 0.5) is Answer.PASS
    assert asked(0.5, 0.5) is Answer.FAIL
    assert asked(0.5, 0.5, 0.5, gap_s=180.0, every_s=200.0) is Answer.FAIL


# -- tiers (ai_workflow) ----------------------------------------------------------------------

QUIET = {
    "failure_rate": 0.0, "knowledge_errors": 0.0, "knowledge_up": 1.0, "slowdown": 0.0,
    "blocked_users": 0.0, "startable": 1.0, "integrity_warnings": 0.0,
}  # fmt: skip


def lasting(metric: str, value: float, for_s: float) -> dict[str, list[Sample]]:
    """Readings each minute for so long."""
    return {metric: [reading(metric, value, ago_s=s) for s in range(int(for_s), 0, -60)]}


@pytest.mark.requirement("AW-07", "AW-08", "AW-09", "AW-10", "AW-11", "AW-13", "AW-14", "AW-15")
@pytest.mark.parametrize(
    ("readings", "history", "event", "wanted"),
    [
        ({"failure_rate": 0.201}, lasting("failure_rate", 0.201, 300), "", "tier-1"),
        ({"failure_rate": 0.201}, lasting("failure_rate", 0.201, 240), "", "tier-2"),
        ({"failure_rate": 0.2}, lasting("failure_rate", 0.2, 600), "", "tier-2"),
        ({"knowledge_up": 0.0}, lasting("knowledge_up", 0.0, 900), "", "tier-1"),
        ({"knowledge_up": 0.0}, lasting("knowledge_up", 0.0, 840), "", ""),
        ({"startable": 0.0}, {}, "", "tier-1"),
        ({}, {}, "vulnerability", "tier-1"),
        ({}, {}, "corruption", "tier-1"),
        ({"failure_rate": 0.1}, {}, "", "tier-2"),
        ({"failure_rate": 0.099}, {}, "", "tier-3"),
        ({"failure_rate": 0.05}, {}, "", "tier-3"),
        ({"failure_rate": 0.049}, {}, "", ""),
        ({"knowledge_errors": 0.051}, {}, "", "tier-2"),
        ({"knowledge_errors": 0.05}, {}, "", "tier-3"),
        ({"knowledge_errors": 0.019}, {}, "", ""),
        ({"blocked_users": 6.0}, {}, "", "tier-2"),
        ({"blocked_users": 5.0}, {}, "", "tier-3"),
        ({"slowdown": 0.31}, {}, "", "tier-2"),
        ({"slowdown": 0.3}, {}, "", "tier-3"),
        ({"slowdown": 0.09}, {}, "", ""),
        ({"integrity_warnings": 1.0}, {}, "", "tier-2"),
    ],
)  # fmt: skip
def test_one_tier_or_none_and_the_most_severe(
    readings: dict[str, float], history: dict[str, list[Sample]], event: str, wanted: str
) -> None:
    """Each condition alone, at its edge."""
    events = (told(event),) if event else ()
    found = decide(system("ai_workflow"), known({**QUIET, **readings}, *events, history=history))
    assert found.trigger == wanted
    assert (found.respond == "hold") == (wanted == "")


GROWING = st.fixed_dictionaries(
    {name: st.floats(0, 1) for name in ("failure_rate", "knowledge_errors", "slowdown")}
)
ORDER = ("tier-1", "tier-2", "tier-3", "")


@pytest.mark.requirement("AW-15")
@settings(max_examples=200, deadline=None)
@given(GROWING, GROWING)
def test_worse_numbers_never_give_a_milder_answer(
    one: dict[str, float], more: dict[str, float]
) -> None:
    """Whatever the numbers: each of them raised, the tier is the same or a more severe one."""
    there = system("ai_workflow")
    mild = decide(there, known({**QUIET, **one}))
    worse = {name: min(1.0, one[name] + more[name]) for name in one}
    hard = decide(there, known({**QUIET, **worse}))
    assert ORDER.index(hard.trigger) <= ORDER.index(mild.trigger)


@pytest.mark.requirement("AW-02", "AW-03")
def test_what_is_not_appropriate_holds_unless_somebody_with_authority_overrules_it() -> None:
    """Nobody can start, which is tier 1; a way around is known; a reason for it weighs more."""
    there = system("ai_workflow")
    bad = {**QUIET, "startable": 0.0}
    held = decide(there, known(bad, facts={"workaround": "true"}))
    assert (held.respond, held.trigger) == ("hold", "tier-1")
    assert any("rollback approval overrule workaround" in reason for reason in held.reasoning)
    said = {"workaround": "overruled by tech-lead-1 (tech-lead): the way around fails too"}
    overruled = decide(there, replace(known(bad, facts={"workaround": "true"}), overruled=said))
    assert overruled.level == "release"
    assert any(said["workaround"] in reason for reason in overruled.reasoning)
    typed = {"workaround": "true", "overrule_workaround": "tech-lead"}
    assert decide(there, known(bad, facts=typed)).respond == "hold", "a word that anybody can type"
    core = known(bad, told("core_broken"), facts={"workaround": "true"})
    assert decide(there, core).level == "release"


@pytest.mark.requirement("AW-62", "AW-63", "AW-64", "AW-65", "AW-66")
@pytest.mark.parametrize(
    ("users", "minutes", "wanted"),
    [
        ("blocked", "1", ("blocking", "roll-back", "release")),
        ("many", "59", ("severe-fixable", "task", "hotfix")),
        ("many", "60", ("severe", "roll-back", "release")),
        ("some", "119", ("moderate-fixable", "task", "hotfix-degraded")),
        ("some", "120", ("moderate", "roll-back", "release")),
        ("few", "239", ("minor-fixable", "task", "hotfix-planned")),
        ("few", "240", ("minor", "task", "next-window")),
        ("none", "1", ("rest", "hold", "Keep looking, and repair it without going back")),
    ],
)  # fmt: skip
def test_the_tree_a_person_answers(users: str, minutes: str, wanted: tuple[str, str, str]) -> None:
    """Severity and how soon it can be repaired; both approvals where many are affected."""
    facts = {"users": users, "hotfix_minutes": minutes}
    found = ask_tree(system("ai_workflow"), known(QUIET, facts=facts))
    assert found is not None
    assert (found.trigger, found.word, found.what) == wanted
    if wanted[0] == "severe":
        assert found.authority is not None
        assert (found.authority.roles, found.authority.quorum) == (
            ("tech-lead", "product-manager"),
            "all",
        )


# -- circuit breaker and matrix (party_mode) --------------------------------------------------

CALM = {
    "session_success": 0.97, "session_success_of_100": 0.97, "spawn_failures": 0.0, "leaks": 0.0,
    "boundary_breaches": 0.0, "violations": 0.0, "critical_violations": 0.0, "slowdown": 1.0,
    "unattended": 0.0, "error_rate": 0.0,
}  # fmt: skip


@pytest.mark.requirement("PM-21", "PM-22")
@pytest.mark.parametrize(("leaking", "failing", "alone"), list(product((False, True), repeat=3)))
def test_the_breaker_trips_only_when_all_hold(leaking: bool, failing: bool, alone: bool) -> None:
    """The truth table of eight; somebody who acted after 14:59 prevents it."""
    there = system("party_mode").having(triggers=())
    readings = {**CALM, "leaks": 1.0 if leaking else 0.0,
                "session_success_of_100": 0.69 if failing else 0.70,
                "unattended": 900.0 if alone else 899.0}  # fmt: skip
    found = decide(there, known(readings))
    assert (found.trigger == "circuit-breaker") == (leaking and failing and alone)
    if found.matches:
        assert found.matches[0].automatic
        assert found.matches[0].inform == ("on-call-engineer", "security-team")
    off = tuple(one.model_copy(update={"enabled": False}) for one in there.decision.breakers)
    disabled = there.having(decision=there.decision.model_copy(update={"breakers": off}))
    assert decide(disabled, known(readings)).respond == "hold"


@pytest.mark.requirement(
    "PM-09", "PM-10", "PM-11", "PM-12", "PM-13", "PM-14", "PM-15", "PM-16", "PM-17", "PM-18"
)
@pytest.mark.parametrize(
    ("readings", "event", "level", "urgency_s", "roles", "quorum"),
    [
        ({"leaks": 1.0}, "", "flag", 60, ("on-call-engineer",), "any"),
        ({"boundary_breaches": 1.0}, "", "flag", 60, ("on-call-engineer",), "any"),
        ({"session_success": 0.799}, "", "flag", 900, ("on-call-engineer",), "any"),
        ({"session_success": 0.8}, "", "", None, (), ""),
        ({"spawn_failures": 0.101}, "", "flag", 900, ("on-call-engineer",), "any"),
        ({"spawn_failures": 0.1}, "", "", None, (), ""),
        ({}, "bad_configuration", "configuration", 1800, ("devops-engineer",), "any"),
        ({"slowdown": 2.01}, "", "configuration", 3600, ("devops-engineer",), "any"),
        ({"slowdown": 2.0}, "", "", None, (), ""),
        ({}, "critical_bug", "code", 7200, ("engineering-lead",), "any"),
        ({}, "vulnerability", "code", 3600, ("security-architect",), "any"),
        ({}, "compromise_suspected", "full", 60, ("cto", "security-architect"), "all"),
        ({"critical_violations": 2.0}, "", "full", 14400, ("cto", "security-architect"), "all"),
        ({"critical_violations": 1.0}, "", "", None, (), ""),
    ],
)  # fmt: skip
def test_the_matrix_says_level_deadline_and_role(
    readings: dict[str, float], event: str, level: str, urgency_s: float | None,
    roles: tuple[str, ...], quorum: str,
) -> None:  # fmt: skip
    """Each row alone, at its edge."""
    found = decide(
        system("party_mode"), known({**CALM, **readings}, *([told(event)] if event else []))
    )
    assert (found.respond, found.level) == ("roll-back" if level else "hold", level)
    if level:
        best = found.best
        assert best is not None
        assert best.authority is not None
        assert (best.urgency_s, best.authority.roles, best.authority.quorum) == (
            urgency_s,
            roles,
            quorum,
        )


@pytest.mark.requirement("PM-23")
def test_events_are_counted_in_a_window_that_moves() -> None:
    """At its edge an event counts, a second later it does not; one of the future never does."""
    when = Condition.model_validate({"event": "leak", "within": "1h", "count": 2})
    for ago_s, wanted in ((3600.0, Answer.PASS), (3601.0, Answer.FAIL), (-1.0, Answer.FAIL)):
        events = (told("leak"), told("leak", ago_s=ago_s))
        assert evaluate(when, known({}, *events))[0] is wanted
    assert evaluate(when, Known({}, events=None, now=NOW))[0] is Answer.UNKNOWN


# -- severity of symptoms (vrooli) and what a person decides (mother_box) ----------------------


@pytest.mark.requirement("VR-05", "VR-08", "VR-09")
def test_the_worst_symptom_decides() -> None:
    """Three classes at once: the catastrophic one's procedure, not the rollback of the critical one."""
    readings = {"slowdown": 0.3}
    events = (told("typo"), told("wont_start"), told("breach"))
    found = decide(system("vrooli"), known(readings, *events))
    assert short(found) == ("catastrophic", "procedure", "emergency")
    assert {match.trigger for match in found.matches} == {
        "trivial",
        "major",
        "critical",
        "catastrophic",
    }
    assert short(decide(system("vrooli"), known(readings, *events[:2])))[1:] == (
        "roll-back",
        "rollback-retry",
    )


FINE = {
    "quality": 0.9, "integration_failures": 0.0, "creation_time": 1.0, "resource_usage": 0.5,
    "error_rate": 0.0, "latency": 10.0, "mismatches": 0.0, "inconsistencies": 0.0, "state_faults": 0.0,
}  # fmt: skip


@pytest.mark.requirement("MB-09", "MB-10", "MB-11")
@pytest.mark.parametrize(
    ("event", "point", "options"),
    [
        ("agents_rejected", "agents-rejected", ["requirements", "phase", "repair"]),
        ("budget_exceeded", "budget-exceeded", ["simpler", "pause", "partial"]),
        ("timeline_at_risk", "timeline-at-risk", ["faster", "less", "debt"]),
    ],
)
def test_what_only_a_person_can_decide_is_asked(event: str, point: str, options: list[str]) -> None:
    """Exactly the declared options, and none is taken."""
    there = system("mother_box")
    found = decide(there, known(FINE, told(event)))
    assert (found.respond, found.what, found.level) == ("decide", point, "")
    assert [option.id for option in there.decision.points[point].options] == options


@pytest.mark.requirement("MB-01", "MB-03", "MB-04", "MB-06", "MB-07", "MB-08", "MB-41")
@pytest.mark.parametrize(
    ("readings", "wanted"),
    [
        ({"quality": 0.599}, ("quality-low", "roll-back", "phase")),
        ({"quality": 0.6}, ("", "hold", "")),
        ({"mismatches": 1.0}, ("corrupted-files", "procedure", "corruption")),
        ({"inconsistencies": 1.0}, ("agents-disagree", "procedure", "corruption")),
        ({"state_faults": 1.0}, ("state-broken", "procedure", "corruption")),
        ({"integration_failures": 0.51}, ("integrations-fail", "roll-back", "component")),
        ({"integration_failures": 0.5}, ("", "hold", "")),
        ({"creation_time": 3.01}, ("too-slow", "procedure", "reassess")),
        ({"creation_time": 3.0}, ("", "hold", "")),
        ({"resource_usage": 0.901}, ("out-of-room", "procedure", "scale-back")),
        ({"error_rate": 0.101}, ("errors", "procedure", "diagnose")),
        ({"error_rate": 0.1}, ("", "hold", "")),
    ],
)
def test_numbers_call_for_what_is_declared(
    readings: dict[str, float], wanted: tuple[str, str, str]
) -> None:
    """At the edge nothing happens."""
    assert short(decide(system("mother_box"), known({**FINE, **readings}))) == wanted


# -- what cannot be told ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["ai_workflow", "mother_box", "party_mode", "quantum_lattice", "vrooli"]
)
def test_nothing_known_never_goes_back(name: str) -> None:
    """Every metric gone, no event store, no fact: a person is asked, nothing is started."""
    there = system(name)
    gone = {metric: reading(metric, None) for metric in there.metrics}
    found = decide(there, Known(gone, {}, None, now=NOW))
    assert (found.respond, found.level) == ("escalate", "")


def test_a_doubt_about_something_stricter_asks_a_person() -> None:
    """The tree says look on; the error rate, which could say go back, is not known."""
    readings: dict[str, float | None] = {**WELL, "affected_users": 0.01, "error_rate": None}
    found = decide(system("quantum_lattice").having(triggers=()), known(readings))
    assert found.respond == "escalate"
    assert any("cannot be told" in reason for reason in found.reasoning)


def test_a_higher_level_is_stricter_whatever_word_its_rule_bears() -> None:
    """Or a worse number could lead to a milder answer."""
    there = system("party_mode")
    found = decide(there, known({**CALM, "leaks": 1.0, "slowdown": 3.0}))
    assert found.level == "configuration"
    ranked = sorted(found.matches, key=lambda match: weight(there, match))
    assert [match.level for match in ranked] == ["flag", "configuration"]
