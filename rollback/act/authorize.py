"""Starting a run, and the stage that lets it go: guardrails first, then the approvals it needs.

Hides: how approvals are signed and checked.
Never: takes an effect.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from shlex import quote
from typing import Any

from rollback.act import asked, beforehand, holding, incident, starting
from rollback.act.glass import broken, may_break
from rollback.act.guarding import command_of
from rollback.act.ladders import taken_with_a_no
from rollback.act.plan import Plan, plan_of
from rollback.act.site import Site
from rollback.host.clock import iso
from rollback.host.signing import sign, verified
from rollback.judge import authority as judge
from rollback.judge.unasked import AGENT, ask_first
from rollback.keep.lease import Lease
from rollback.model.errors import HostError, NotAuthorized, PlanError, RunLocked
from rollback.model.finding import Json
from rollback.model.lifecycle import ENDED, Run, State


def create(
    site: Site, plan: Plan, *, follows: Run | None = None,
    because: Mapping[str, Json] | None = None, glass: bool = False,
) -> Run:  # fmt: skip
    """The run is in the journal, PLANNED, and the declaration it was planned under is kept.

    `follows` is the run of the same incident that was not enough; `because` what the agent began
    it for. `glass`: who asks for it breaks it, so guardrails of time and people do not hold; it goes
    on by that person's signed word alone.

    Raises: Refused by a guardrail; nothing but the refusal is written then. RunLocked when
    somebody else has begun a run since the plan was made.
    """
    if plan.emergency:
        site.emergency()
    run_id = plan.stamp["run"]
    with Lease(site.state.tree, site.host, purpose=f"plan {run_id}"):
        site.trusted()
        if not (plan.emergency and not plan.touched):  # a flip stores nothing away, and cannot wait
            one_at_a_time(site, besides=plan.undoes)
        if glass:
            may_break(site, plan.requester, plan.reason)
        found = holding.guard(site, plan, glass=glass)
        held, (_, said) = found.asked, found.answer
        _no_secrets(site, plan)
        if run_id in site.runs():
            raise RunLocked(
                f"run {run_id} was begun by somebody else just now", hint="type the command again"
            )
        _keep(site, plan, run_id)
        site.tell(
            "run.planned", run=run_id, plan=plan.as_json(), plan_digest=plan.digest(),
            incident=follows.incident if follows else incident.of_new_run(site, plan),
            reason=plan.reason, guardrails=said, **({"follows": follows.id} if follows else {}),
            **(because or {}), **({"glass": plan.requester} if glass else {}),
        )  # fmt: skip
        for warning in held.warnings:
            site.tell("run.noted", run=run_id, note=f"guardrails.conditions: {warning}")
        for name, why in held.asked.items():
            site.tell("guardrail.asked", run=run_id, id=name, why=why)
    site.anchor()
    return site.run(run_id)


def _keep(site: Site, plan: Plan, run_id: str) -> None:
    try:
        site.keep_declaration(run_id)
    except (OSError, HostError):
        if not plan.emergency:
            raise  # an emergency goes on: only a later change of the declaration would miss it


def _no_secrets(site: Site, plan: Plan) -> None:
    """The plan is journalled as it is carried out, so it may hold nothing that must be masked."""
    body = plan.as_json()
    hidden: Any = site.journal.hide({"plan": body})["plan"]
    if hidden == body:
        return
    own: Any = body["steps"]
    named = [
        step["id"] for step, masked in zip(own, hidden["steps"], strict=True) if step != masked
    ]
    where = f"step {', '.join(named)}" if named else "the plan"
    raise PlanError(
        f"{where} holds the value of a secret, which must never stand in the journal",
        where=str(site.system.declaration),
        hint="let the step read it where it is: an environment variable or a file of the program",
    )


def next_run_id(site: Site) -> str:
    """The id of the next run, like r0001."""
    return f"r{len(site.runs()) + 1:04d}"


def one_at_a_time(site: Site, *, besides: str = "") -> None:
    """No other run has taken a step and not ended: what it left is between two states.

    Raises: RunLocked naming it.
    """
    for run in site.runs().values():
        # a mitigated one has done its steps: it is whole, though not proved
        rests = run.state in ENDED or run.state is State.MITIGATED
        if run.steps and not rests and run.id != besides:
            back = f"or take it back: rollback abort {run.id}"
            if command_of(plan_of(run)):  # it has no undo of its own: what was kept is put back
                back = f"then go back to what was before it: rollback undo {run.id}"
            raise RunLocked(
                f"run {run.id} has begun and not ended: it is {run.state}",
                hint=f"go on with it: rollback resume {run.id}; {back}",
            )


def stage(site: Site, run: Run, plan: Plan) -> Run:
    """PLANNED goes on when enough people said yes, waits when not yet, ends when one said no."""
    run = asked.note_silence(site, run, plan)
    result = standing(site, run, plan)
    if result.denied:
        return site.note(run, "run.abandoned", reason=result.denied)
    if result.enough:
        for approval in result.used:
            if beforehand.is_one(site, approval):
                run = beforehand.use(site, run, approval)
                continue
            run = site.note(run, "approval.used", nonce=approval.nonce, person=approval.person)
        by: list[Json] = [a.person for a in result.used]
        return site.note(run, "run.authorized", by=by, unasked=not by and _unasked(site, run, plan))
    if asked.overdue(site, run):
        return asked.unanswered(site, run, result.missing)
    until = asked.due(site, run)
    assert until is not None
    return site.note(run, "run.waiting", on="approval", what=result.missing, due=iso(until))


def lost(site: Site, run: Run, plan: Plan) -> str:
    """Why a run that was authorised may not take its first step any more; "" when it may.

    How many of which roles is asked of the policy sealed in the plan; who holds them, with which
    key, of the people in force now. An approval has to be good still.
    """
    result = _standing(site, run, plan)
    if result.enough:
        return ""
    return f"not authorised any more: {result.denied or f'it lacks {result.missing}'}"


def standing(site: Site, run: Run, plan: Plan) -> judge.Standing:
    """Where the approvals of a run stand now, under the people and the policy in force."""
    if plan.policy != site.in_force.authority_digest:
        return judge.Standing(f"a new plan: people or policy have changed since {run.id} was made")
    return _standing(site, run, plan)


def _standing(site: Site, run: Run, plan: Plan) -> judge.Standing:
    authority = asked.authority(site, run, plan)
    if (
        authority.alone
        and not run.glass
        and not _confirm(site, plan)
        and _holds(site, plan.requester, authority.roles)
    ):
        return judge.Standing("")
    # what was given beforehand comes first: the last word of a person counts
    early = () if run.glass else beforehand.good(site, run, plan, authority)
    now = _counted(site, run, plan)([*early, *_valid(site, run, plan.policy)])
    unasked = not run.glass and not now.denied and _unasked(site, run, plan)
    return judge.Standing("") if unasked else now


def may_approve(site: Site, run: Run) -> Mapping[str, tuple[str, ...]]:
    """Whose yes would bring a waiting run further now: people, with the roles they would speak for."""
    if run.waiting_for.get("on") != "approval" and run.state is not State.PLANNED:
        return {}
    site, plan = site.under(run), plan_of(run)
    if plan.policy != site.in_force.authority_digest:
        return {}
    people = site.in_force.people
    roles = (*asked.authority(site, run, plan).roles, *asked.alone(site, run, plan))
    counted, given = _counted(site, run, plan), _valid(site, run, plan.policy)
    lacking, at = counted(given).lacking, iso(asked.now(site))
    return {
        one.id: tuple(role for role in one.roles if role in roles)
        for one in people.members
        if counted([*given, judge.would_say(one, at=at)]).lacking < lacking
    }


def _counted(
    site: Site, run: Run, plan: Plan
) -> Callable[[Iterable[judge.Approval]], judge.Standing]:
    """How the approvals of this run are counted at this moment."""
    return partial(
        judge.standing, asked.authority(site, run, plan), site.in_force.people,
        requester=plan.requester, reachable=asked.reachable(site, run, plan),
        alone=asked.alone(site, run, plan), glass=run.glass,
    )  # fmt: skip


def approve(
    site: Site, run: Run, *, person: str, answer: str = "yes", note: str = "", key: str = "",
    valid_for: timedelta = timedelta(seconds=judge.VALID_FOR_S),
) -> judge.Approval:  # fmt: skip
    """The person's answer is in the journal, signed when a key is given.

    Raises: NotAuthorized when it would count for nothing; then it is not recorded.
    """
    approval = make_approval(
        site, run, person=person, answer=answer, note=note, valid_for=valid_for
    )
    declared = judge.member(site.in_force.people, person)
    if key:
        signature = sign(approval.signed_bytes(), key, namespace=judge.NAMESPACE)
        approval = judge.Approval(**{**approval.as_json(), "signature": signature})  # type: ignore[arg-type]
    elif declared and declared.key:
        word = "deny" if answer == "no" else "approve"  # what is pasted must not say the opposite
        said = f"{word} {run.id} --as {person}" + " --break-glass" * (answer == judge.GLASS)
        said += f" --note {quote(note)}" if note else ""
        why = f"{person} has a declared key, so an answer must be signed with it"
        raise _refused(site, run, approval, why, hint=f"rollback {said} --key FILE")
    record(site, run, approval)
    return approval


def break_glass(site: Site, run: Run, *, person: str, reason: str, key: str = "") -> Run:
    """The person's word stands for all approvals of the run; it is in the journal, loudly.

    Raises: NotAuthorized; a run that was begun for nothing but this is ABANDONED then.
    """
    try:
        approve(site, run, person=person, answer=judge.GLASS, note=reason, key=key)
    except NotAuthorized as error:
        if run.glass:
            site.note(run, "run.abandoned", reason=f"the glass was not broken: {error}")
        if run.glass and not key:  # that run is over: what approves it comes too late
            raise NotAuthorized(error.message, where=error.where,
                                hint="type the same again, with --key FILE") from error  # fmt: skip
        raise
    return site.run(run.id)


def make_approval(
    site: Site, run: Run, *, person: str, answer: str, note: str, valid_for: timedelta
) -> judge.Approval:
    """An unsigned answer about this run's plan, on this machine, under the policy in force."""
    now = asked.now(site)
    return judge.Approval(
        run=run.id, plan=run.plan_digest, host=platform.node(), policy=site.in_force.authority_digest,
        person=person, nonce=site.host.token(), given=iso(now), expires=iso(now + valid_for),
        answer=answer, note=note,
    )  # fmt: skip


def record(site: Site, run: Run, approval: judge.Approval) -> Run:
    """The answer is in the journal. Raises: PlanError; NotAuthorized, and that it was refused is there.

    A refused one is not used up: what was refused for its time or turn may count later.
    """
    if run.state in ENDED or (run.state is State.MITIGATED and not run.gated):
        raise PlanError(
            f"run {run.id} has ended: it is {run.state}; nothing was changed",
            hint=f"see how it ended with: rollback report {run.id}",
        )
    if any(approval.nonce == given.nonce for given in _given(run)):
        raise _refused(site, run, approval, "this approval was given before; it counts once")
    if asked.overdue(site.under(run), run):
        raise PlanError(
            f"run {run.id} has waited longer than its people had to answer",
            hint=f"end it with: rollback resume {run.id}; then plan anew",
        )
    run = asked.note_silence(site.under(run), run, plan_of(run))
    policy = site.in_force.authority_digest
    why = _why_not(site, run, approval, asked.now(site), policy) or _adds_nothing(
        site, run, approval
    )
    if why:
        able = ", ".join(may_approve(site, run))
        raise _refused(site, run, approval, why, hint=f"it is for them to say yes: {able}" if able
                       else "rollback status shows what it waits for")  # fmt: skip
    kind = "approval.denied" if approval.answer == "no" else "approval.given"
    run = site.note(run, kind, **approval.as_json())
    if approval.answer == "no":
        taken_with_a_no(site, run.id, by=approval.person)
    if approval.answer == judge.GLASS:
        run = broken(site, run, by=approval.person, reason=approval.note)
    return run


def _refused(
    site: Site, run: Run, approval: judge.Approval, why: str, *, hint: str = ""
) -> NotAuthorized:
    """What is raised, and in the journal, about an answer that counts for nothing."""
    site.note(
        run, "approval.refused", person=approval.person, answer=approval.answer,
        nonce=approval.nonce, why=why,
    )  # fmt: skip
    return NotAuthorized(why, where=run.id, hint=hint)


def may_wake(site: Site, run: Run) -> bool:
    """True when what a waiting run waits for is there."""
    waits = run.waiting_for
    if waits.get("on") in ("approval", "checklist") and asked.overdue(site, run):
        return True
    if waits.get("on") == "approval":
        if asked.silence_due(site.under(run), run, plan_of(run)):
            return True
        result = standing(site, run, plan_of(run))
        # somebody answered: the run goes on, ends, or says anew what is still missing
        return result.missing != waits.get("what")
    if waits.get("on") == "checklist":
        return starting.waits_for(site, run, plan_of(run)) != waits.get("what")
    if waits.get("on") == "answer":
        return starting.said_enough(site.under(run), run) or asked.too_late(site, run)
    if waits.get("on") == "timer":
        return site.host.clock.now().timestamp() >= float(str(waits.get("until", 0)))
    return False


def _given(run: Run) -> list[judge.Approval]:
    found = []
    for data in run.approvals:
        try:
            found.append(judge.read(data))
        except ValueError:
            continue  # written by hand into a state directory: it counts for nothing
    return found


def _why_not(site: Site, run: Run, approval: judge.Approval, now: datetime, policy: str) -> str:
    declared = judge.member(site.in_force.people, approval.person)
    key = declared.key if declared else None
    checked = bool(
        key
        and approval.signature
        and verified(approval.signed_bytes(), approval.signature, key, approval.person,
                     namespace=judge.NAMESPACE)
    )  # fmt: skip
    return judge.invalid(
        approval, people=site.in_force.people, plan=run.plan_digest, run=run.id, host=platform.node(),
        policy=policy, now=now, verified=checked,
    )  # fmt: skip


def _adds_nothing(site: Site, run: Run, approval: judge.Approval) -> str:
    """Why this answer would change nothing, whoever else speaks; "" when it may."""
    there, plan = site.under(run), plan_of(run)
    if approval.answer == judge.GLASS:
        try:
            may_break(site, approval.person, approval.note)
        except NotAuthorized as error:
            return error.message
        return ""
    authority = asked.authority(there, run, plan)
    himself = _holds(site, approval.person, asked.alone(there, run, plan))
    if not _holds(site, approval.person, authority.roles) and not himself:
        return f"{approval.person} holds none of the roles that may answer for this run"
    if approval.answer != "yes":
        return ""
    if authority.quorum == "ordered" and not himself:
        now = (authority.roles[0], *asked.reachable(there, run, plan))
        if not _holds(site, approval.person, now):
            return f"{approval.person} is asked only after the silence of {' and '.join(now)}"
    if approval.person == plan.requester and not authority.alone and not himself:
        return f"{approval.person} asked for this run, so somebody else has to say yes to it"
    said = [one for one in _valid(site, run, plan.policy) if one.person == approval.person]
    if said and said[-1].answer == "yes":
        good = f"good until {said[-1].expires[11:16]}Z"
        return f"{approval.person} said yes already ({good}), and counts once"
    return ""


def _valid(site: Site, run: Run, policy: str) -> list[judge.Approval]:
    now = asked.now(site)
    return [one for one in _given(run) if not _why_not(site, run, one, now, policy)]


def _holds(site: Site, person: str, roles: Iterable[str]) -> bool:
    declared = judge.member(site.in_force.people, person)
    return bool(declared and set(declared.roles) & set(roles))


def _unasked(site: Site, run: Run, plan: Plan) -> bool:
    """True when the agent began it, and goes on by itself under the policy in force."""
    mine = run.unasked and plan.requester == AGENT
    system, authority = site.in_force, asked.declared(site, plan)
    return mine and not ask_first(system, plan.environment, run.trigger, authority)


def _confirm(site: Site, plan: Plan) -> bool:
    """True when a person confirms: the autonomy in force says so, or the place where it happens."""
    places = (site.in_force.environments, site.system.environments)  # the stricter of now and then
    asked = (here[plan.environment].confirm for here in places if plan.environment in here)
    return site.in_force.autonomy.row.confirm or any(asked)
