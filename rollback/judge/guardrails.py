"""What holds a run back, whoever asks: autonomy, how often, when, how much room, which paths, how much.

Hides: the arithmetic of windows.
Never: measures; the circumstances are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rollback.judge import hours
from rollback.model.component import Window
from rollback.model.errors import Refused
from rollback.model.finding import Answer, Sample
from rollback.model.level import Level, Procedure, Waiver
from rollback.model.people import Autonomy, Guard
from rollback.model.quantity import spoken
from rollback.model.system import HOME, System


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is true when a run asks to start.

    `begun` are the moments at which earlier runs of this system were started, any order.
    `rehearsed`: the plan of this very procedure was shown; `staged`: it was proved on staging.
    `lost_share`: of the rows of the table that loses most; None when it was not counted.
    Units: `need_bytes` is what the run writes, `free_bytes` what the file system has.
    """

    now: datetime
    begun: Sequence[datetime]
    need_bytes: int
    free_bytes: int
    touched: Sequence[str] = ()
    environment: str = HOME
    rehearsed: bool = False
    staged: bool = False
    lost_share: float | None = 0.0
    paths: int = 0
    services: int = 0


def refusals(system: System, level: Level | Procedure, seen: Circumstances) -> tuple[Refused, ...]:
    """Every guardrail that says no, in a fixed order; empty when none does."""
    found = [
        one
        for waiver, held in _HELD.items()
        if waiver not in level.waives and not (level.emergency and waiver in _NOT_IN_AN_EMERGENCY)
        for one in held(system, seen)
    ]
    return (*found, *_paths(system, seen))


def autonomy(policy: Autonomy) -> Refused | None:
    """The refusal when the current autonomy level gives no right to go back."""
    if "roll-back" in policy.row.may:
        return None
    rights = ", ".join(policy.row.may) or "nothing"
    return Refused(
        "autonomy", f"at autonomy {policy.current} the tool may {rights}, and not roll-back",
        hint="raise autonomy: current: in the declaration, accept it with rollback trust, run again",
    )  # fmt: skip


def _rate(system: System, seen: Circumstances) -> Iterator[Refused]:
    limit = system.guardrails.rate_limit
    if limit is None:
        return
    since = seen.now - timedelta(seconds=limit.per)
    recent = [moment for moment in seen.begun if moment > since]
    if len(recent) >= limit.max:
        free_at = sorted(recent)[-limit.max] + timedelta(seconds=limit.per)
        yield Refused(
            "rate-limit", f"{len(recent)} runs in the last {limit.per / 3600:g} h, {limit.max} are allowed",
            hint=f"a person should look why; the next may start at {free_at:%Y-%m-%d %H:%M} UTC",
        )  # fmt: skip
    elif recent and (seen.now - max(recent)).total_seconds() < limit.min_gap:
        wait_s = limit.min_gap - (seen.now - max(recent)).total_seconds()
        yield Refused(
            "rate-limit", f"the last run began less than {spoken(limit.min_gap)} ago",
            hint=f"wait {spoken(wait_s)}, then type the command again",
        )  # fmt: skip


def _window(system: System, seen: Circumstances) -> Iterator[Refused]:
    for window, what in _windows(system, seen.environment):
        if not hours.is_open(window, seen.now):
            when = hours.next_open(window, seen.now)
            wait = f"wait until {when:%Y-%m-%d %H:%M} UTC" if when else "change the window"
            yield Refused(
                "window", f"{what} may start only within {hours.spoken(window)}",
                hint=f"{wait}; or choose a level that waives it (waives: [window])",
            )  # fmt: skip


def opens(system: System, environment: str, now: datetime) -> datetime | None:
    """When the window opens that is closed now, the last one of several; None when none is closed."""
    closed = [one for one, _ in _windows(system, environment) if not hours.is_open(one, now)]
    return max((hours.next_open(one, now) or now + _NEVER for one in closed), default=None)


def _windows(system: System, environment: str) -> Iterator[tuple[Window, str]]:
    place = system.environments.get(environment)
    if system.guardrails.window is not None:
        yield system.guardrails.window, "a run"
    if place is not None and place.window is not None:
        yield place.window, f"a run in {environment}"


def _dry_run(system: System, seen: Circumstances) -> Iterator[Refused]:
    if system.guardrails.dry_run_first and not seen.rehearsed:
        yield Refused(
            "dry-run", "what it would do, as it is declared now, was never looked at",
            hint="look at it first, with the same words: rollback plan LEVEL",
        )  # fmt: skip


def _staging(system: System, seen: Circumstances) -> Iterator[Refused]:
    first = system.guardrails.staging_first
    if first and seen.environment != first and not seen.staged:
        yield Refused(
            "staging", f"it was not proved on {first} in the last 24 h, as it is declared now",
            hint=f"go there first, with the same words and: --environment {first}",
        )  # fmt: skip


def _lost_share(system: System, seen: Circumstances) -> Iterator[Refused]:
    most = system.guardrails.max_lost_share
    if most is None:
        return
    if seen.lost_share is None:
        yield Refused(
            "lost-share", "how many rows would be lost is not known",
            hint="choose a newer target (--to), or a level that waives it (waives: [lost-share])",
        )  # fmt: skip
    elif seen.lost_share > most:
        yield Refused(
            "lost-share", f"{seen.lost_share:.1%} of the rows of a table would be lost, {most:.1%} may be",
            hint="choose a newer target (--to), or get the rows back first: rollback recover lost-work",
        )  # fmt: skip


def _blast_radius(system: System, seen: Circumstances) -> Iterator[Refused]:
    radius = system.guardrails.blast_radius
    if radius is None:
        return
    counts = (("components", len(seen.touched), radius.components), ("paths", seen.paths, radius.paths),
              ("services", seen.services, radius.services))  # fmt: skip
    over = [f"{count} {name}, {most} at most" for name, count, most in counts
            if most is not None and count > most]  # fmt: skip
    if over:
        yield Refused(
            "blast-radius", f"too much would change at once: {'; '.join(over)}",
            hint="choose a smaller level, or one component: rollback plan LEVEL --component C",
        )  # fmt: skip


def _disk(system: System, seen: Circumstances) -> Iterator[Refused]:
    guard = system.guardrails.disk
    need = int(seen.need_bytes * guard.factor) + guard.reserve
    need = max(need, (guard.at_least or 0) + 1)
    if seen.free_bytes < need:
        yield Refused(
            "disk", f"{seen.free_bytes / 2**20:.0f} MiB are free, {need / 2**20:.0f} MiB are needed",
            hint="make room, then type the command again",
        )  # fmt: skip


def _paths(system: System, seen: Circumstances) -> Iterator[Refused]:
    for touched in seen.touched:
        component = system.components[touched]
        if component.content == "append-only":
            continue  # captured, never taken back
        for protected in system.guardrails.protected_paths:
            if protected == component.path or protected.startswith(component.path + "/"):
                yield Refused(
                    "protected-paths",
                    f"{touched} holds {protected}, which no run may change",
                    hint="exclude that path from the component",
                )
                return


_NEVER = timedelta(days=15)  # it is looked at again then
_Held = Callable[[System, Circumstances], Iterator[Refused]]
_HELD: dict[Waiver, _Held] = {
    "rate-limit": _rate, "window": _window, "dry-run": _dry_run, "staging": _staging,
    "lost-share": _lost_share, "blast-radius": _blast_radius, "disk": _disk,
}  # fmt: skip
_NOT_IN_AN_EMERGENCY: frozenset[Waiver] = frozenset({"window", "dry-run", "staging"})
# what a person who breaks the glass takes upon himself; never what keeps data whole
LIFTED = frozenset(
    {
        "autonomy",
        "rate-limit",
        "window",
        "dry-run",
        "staging",
        "climb-in-order",
        "cause",
        "not-appropriate",
    }
)


# -- conditions ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Conditions:
    """What each declared condition says, the refusal that follows, and what is only warned of.

    `asked` are those that a person may let pass, with what they say.
    """

    answers: Mapping[str, Answer]
    refused: Refused | None = None
    warnings: tuple[str, ...] = ()
    asked: Mapping[str, str] = field(default_factory=dict)


def conditions(
    system: System, samples: Mapping[str, Sample], facts: Mapping[str, str], *,
    lacking: Sequence[str] = (),
) -> Conditions:  # fmt: skip
    """Every declared condition against readings and told facts; UNKNOWN counts as not holding.

    A condition of our own (`holds:`) is kept by the engine and the plan of every run. `lacking` are
    programs of the procedure that are not there.
    """
    answers: dict[str, Answer] = {}
    reasons: list[str] = []
    warnings: list[str] = []
    ask: dict[str, str] = {}
    for guard in system.guardrails.conditions:
        answers[guard.id], why = _condition(guard, samples, facts, lacking)
        if answers[guard.id] is Answer.PASS:
            continue
        if guard.refuse == "warn":
            warnings.append(f"{guard.id}: {why}")
        elif guard.refuse == "ask":
            ask[guard.id] = why
        else:
            reasons.append(f"{guard.id}: {why}")
    refused = Refused(
        "conditions", "; ".join(reasons),
        hint="make it so, then type the command again; a person may have to look first",
    ) if reasons else None  # fmt: skip
    return Conditions(answers, refused, tuple(warnings), ask)


def _condition(
    guard: Guard, samples: Mapping[str, Sample], facts: Mapping[str, str], lacking: Sequence[str]
) -> tuple[Answer, str]:
    if guard.holds == "procedure-declared" and lacking:
        return Answer.FAIL, f"not there: {', '.join(lacking)}"
    if guard.holds is not None:
        return Answer.PASS, f"{guard.holds} is kept by every run"
    if guard.fact is not None:
        return _fact(guard.fact, facts, wanted=guard.is_ is not False)
    sample = samples.get(str(guard.metric))
    if sample is None or sample.value is None:
        why = sample.note if sample else "it was not read"
        return Answer.UNKNOWN, f"metric {guard.metric} is UNKNOWN: {why}"
    value = sample.value
    limits = (
        ("above", guard.above, guard.above is None or value > guard.above),
        ("below", guard.below, guard.below is None or value < guard.below),
        ("at least", guard.at_least, guard.at_least is None or value >= guard.at_least),
        ("at most", guard.at_most, guard.at_most is None or value <= guard.at_most),
        ("equal to", guard.equals, guard.equals is None or value == guard.equals),
    )
    broken = [f"{word} {limit:g}" for word, limit, held in limits if limit is not None and not held]
    if broken:
        return (
            Answer.FAIL,
            f"metric {guard.metric} is {value:g}, and must be {' and '.join(broken)}",
        )
    return Answer.PASS, f"metric {guard.metric} is {value:g}"


def _fact(name: str, facts: Mapping[str, str], *, wanted: bool) -> tuple[Answer, str]:
    told = facts.get(name)
    if told is None:
        return (
            Answer.UNKNOWN,
            f"nobody has told the fact {name} (rollback decide --fact {name}=yes)",
        )
    if told.strip().lower() in (("yes", "true") if wanted else ("no", "false")):
        return Answer.PASS, f"fact {name} is {told}"
    return Answer.FAIL, f"fact {name} is {told}, and must be {'yes' if wanted else 'no'}"


# -- the cause of a start by hand ----------------------------------------------------------


def cause(system: System, reason: str) -> Refused | None:
    """The refusal when causes are declared and the reason names none of them, as `CAUSE: words`."""
    known = {
        one.id: one.title
        for one in system.decision.filters
        if one.manual and one.answer == "appropriate"
    }
    if not known or reason.partition(":")[0].strip() in known:
        return None
    said = f"{reason!r} names no declared cause" if reason else "the run names no declared cause"
    listed = "; ".join(f"{name} ({title})" for name, title in known.items())
    return Refused(
        "cause", said, hint=f"write --reason 'CAUSE: what you saw', with one of: {listed}"
    )


# -- climbing ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Climb:
    """What speaks for a higher level, of the last day.

    `failed` are the ranks of the levels whose runs went wrong, `decided` the rank that the newest
    decision calls for; `idle` is true when the next lower level would change nothing.
    """

    failed: Sequence[int] = ()
    decided: int | None = None
    idle: bool = False


def next_lower(system: System, rank: int) -> str:
    """The id of the next lower level; empty for the lowest."""
    below = [(level.rank, key) for key, level in system.levels.items() if level.rank < rank]
    return max(below)[1] if below else ""


def climbs(system: System, level: Level | Procedure) -> bool:
    """True when the level may be started only above one that was not enough."""
    if not isinstance(level, Level) or not next_lower(system, level.rank):
        return False
    in_order = system.guardrails.climb_in_order and not level.emergency
    return in_order or level.requires_lower_failed


def climb(system: System, name: str, level: Level, seen: Climb) -> Refused | None:
    """The refusal when nothing says that a lower level was not enough."""
    if any(rank < level.rank for rank in seen.failed) or seen.idle:
        return None
    if seen.decided is not None and seen.decided >= level.rank:
        return None
    lower = next_lower(system, level.rank)
    return Refused(
        "climb-in-order",
        f"no lower level has failed in the last 24 h, and no decision calls for {name}",
        hint=f"start with: rollback run {lower}   (or see what the triggers say: rollback decide)",
    )
