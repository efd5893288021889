"""The report of a run: one value made from its events, as JSON and as Markdown with a timeline.

Hides: the layout.
Never: knows anything that the journal does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rollback.judge import timing
from rollback.judge.scope import looks_at
from rollback.model.event import Event
from rollback.model.finding import Json
from rollback.model.level import Budgets
from rollback.model.lifecycle import Run, State, elapsed_s
from rollback.model.quantity import counted, sized, spoken
from rollback.model.system import System
from rollback.tell.loss import loss, measured, stands, taken_back_by
from rollback.tell.overruled import overruled
from rollback.tell.phases import of_a_run, phases

FORMAT = 1
_BAR_CHARS = 40
CELL_CHARS_MAX = 160
_READINGS_MAX = 40
_CLOCKS = {"start": "detected to first step", "mitigated": "mitigated", "complete": "complete",
           "recovery": "until everybody works"}  # fmt: skip


def build(system: System, run: Run, events: Iterable[Event]) -> dict[str, Any]:
    """The whole report as plain data.

    Shape: `timeline` oldest first; `steps` in order of the plan, alternatives after their step.
    """
    events = tuple(events)
    mine = [event for event in events if event.run == run.id]
    plan: dict[str, Any] = dict(run.plan)
    level = system.levels.get(plan["level"]) or system.procedures.get(plan["level"])
    budgets = level.budgets if level else None
    now = next((e.data["impact"] for e in reversed(mine) if e.kind == "impact.measured"), None)
    return {
        "format": FORMAT, "run_id": run.id, "incident": run.incident, "system": plan["system"],
        "system_title": system.system.title, "system_version": system.system.version,
        "system_date": str(system.system.date),
        "title": plan["title"], "level": plan["level"], "rank": plan["rank"], "state": run.state.value,
        "known_red": [*run.known_red],
        "variant": plan["variant"], "component": plan["component"], "target": plan["target"],
        "undoes": plan.get("undoes", ""), "taken_back_by": taken_back_by(run.id, events),
        "plan_digest": run.plan_digest, "system_digest": plan["system_digest"], "tool": plan["tool"],
        "requester": plan["requester"], "reason": plan["reason"], "stopped_for": run.reason,
        "clocks": {
            "mitigated": _clock(run, "run.mitigated", budgets.mitigated if budgets else None),
            "complete": _clock(run, "gate.opened", budgets.complete if budgets else None),
            **_around(system, run, events, budgets),
            "waited_s": round(run.waited_s, 3),
        },
        "phases": of_a_run(run), "budgeted": phases(level, plan, mine),
        "steps": list(_steps(run, plan)), "safety": run.safety,
        "impact": now or plan["impact"], "impact_at": "start" if now else "plan",
        "kept": list(_kept(run, mine)),
        "fallbacks": list(plan.get("fallbacks", ())),
        "smallest_scope": run.verdict.get("offer") or None,
        "approvals": [_approval(a) for a in run.approvals], "glass": _glass(mine),
        "overruled": overruled(mine, events, str(plan["level"])),
        "suites": {name: dict(found) for name, found in run.suites.items()},
        "gate": dict(run.verdict), "not_looked_at": _not_looked_at(system, run, plan),
        "checklist": [dict(e.data) for e in _last_items(mine)],
        "watched": list(_watched(mine)),
        "messages": [_message(event) for event in mine if event.kind.startswith("message.")],
        "timeline": [{"at": e.at, "event": e.kind, "said": _said(e)} for e in mine],
    }  # fmt: skip


def markdown(report: Mapping[str, Any]) -> str:
    """The report for people: what happened, both clocks, what was proved, and what was not."""
    r = report
    lines = [
        f"# {_text(r['system'])}: {_text(r['title'])} - {r['state']}{_red(r)}", "",
        f"{_text(r['system_title'])}, version **{_text(r['system_version'])}** of "
        f"{_text(r['system_date'])}.", "",
        f"Run **{r['run_id']}**" + (f" of incident **{r['incident']}**" if r["incident"] else "")
        + f", level `{r['level']}`"
        + (f" variant `{r['variant']}`" if r["variant"] else "")
        + (f", component `{r['component']}`" if r["component"] else "")
        + f", asked for by {_text(r['requester'])}"
        + (f": {_text(r['reason'])}" if r["reason"] else "") + ".",
        "",
    ]  # fmt: skip
    if r["target"]["source"]:
        target = r["target"]
        lines += [
            f"Back to {target['source']} `{_text(target['label'])}` (`{target['id'][:16]}`).",
            "",
        ]
    if r["stopped_for"]:
        lines += [f"> {_text(r['stopped_for'])}", ""]
    if r["glass"]:
        lines += [_glass_line(r["glass"]), ""]
    lines += [line for said in r["overruled"] for line in (f"> **Overruled**: {_text(said)}", "")]
    lines += (
        _clock_lines(r)
        + _step_lines(r)
        + _watch_lines(r)
        + _proof_lines(r)
        + _loss_lines(r)
        + _paper_lines(r)
    )
    lines += ["## Timeline", "", "| at (UTC) | event | |", "|---|---|---|"]
    lines += [f"| {e['at'][11:23]} | {e['event']} | {_cell(e['said'])} |" for e in r["timeline"]]
    lines += ["", f"Plan `{r['plan_digest'][:16]}`, declaration `{r['system_digest'][:16]}`, "
              f"rollback {r['tool']}.", ""]  # fmt: skip
    return "\n".join(lines)


def _red(r: Mapping[str, Any]) -> str:
    return f" with {counted(len(r['known_red']), 'known failure')}" if r["known_red"] else ""


def _glass_line(glass: Mapping[str, Any]) -> str:
    looked = f"nobody has looked at it; that is due by {glass['review_by'][:16]}Z"
    if glass["reviewed_by"]:
        looked = f"{_text(glass['reviewed_by'])} looked at it: {_text(glass['note'])}"
    return f"> **{_text(glass['by'])} broke the glass**: {_text(glass['reason'])}; {looked}"


def _clock_lines(r: Mapping[str, Any]) -> list[str]:
    lines = ["## Clocks", "", "| | took | budget | |", "|---|---:|---:|---|"]
    for name, shown in _CLOCKS.items():
        clock = r["clocks"][name]
        if name in ("start", "recovery") and clock["took_s"] is None and clock["budget_s"] is None:
            continue
        verdict = "" if clock["took_s"] is None or clock["budget_s"] is None else (
            "over budget" if clock["took_s"] > clock["budget_s"] else "within budget"
        )  # fmt: skip
        approximate = " (approximate: the machine was restarted)" if clock["approximate"] else ""
        lines.append(
            f"| {shown} | {spoken(clock['took_s'])} | {spoken(clock['budget_s'])} | {verdict}{approximate} |"
        )
    lines += ["", f"Waiting is included above: {spoken(r['clocks']['waited_s'])}.", ""]
    if not r["phases"]:
        return [*lines, *_phase_lines(r)]
    lines.append("```text")
    total = sum(phase["took_s"] for phase in r["phases"]) or 1.0
    offset = 0.0
    for phase in r["phases"]:
        start = round(offset / total * _BAR_CHARS)
        offset += phase["took_s"]
        width = max(1, round(offset / total * _BAR_CHARS) - start)
        lines.append(f"{phase['phase']:<18}{' ' * start}{'#' * width}  {spoken(phase['took_s'])}")
    return [*lines, "```", "", *_phase_lines(r)]


def _phase_lines(r: Mapping[str, Any]) -> list[str]:
    """The declared phases that were begun or have a budget, each beside it."""
    told = [one for one in r["budgeted"] if one["took_s"] is not None or one["budget_s"]]
    if not told:
        return []
    lines = ["| phase | took | budget | |", "|---|---:|---:|---|"]
    for one in told:
        word = "still open" if one["open"] else "over budget" if one["over"] else ""
        if not word and one["took_s"] is not None and one["budget_s"]:
            word = "within budget"
        name = _cell(one["title"] or one["id"])
        lines.append(f"| {name} | {spoken(one['took_s'])} | {spoken(one['budget_s'])} | {word} |")
    return [*lines, ""]


def _step_lines(r: Mapping[str, Any]) -> list[str]:
    lines = ["## Steps", "", "| | step | | took | |", "|---|---|---|---:|---|"]
    for step in r["steps"]:
        said = step["error"] or "; ".join(step["says"])
        lines.append(
            f"| {step['index']} | {step['id']} ({step['kind']}) | {step['status'] or 'not taken'} | "
            f"{spoken(step['took_s'])} | {_cell(said)} |"
        )
    return [*lines, ""]


def _watch_lines(r: Mapping[str, Any]) -> list[str]:
    """What was watched, reading by reading; of a long watch the bad ones, the first and the last."""
    read = r["watched"]
    if not read:
        return []
    lines = ["## Watched", "", "| at (UTC) | step | | values |", "|---|---|---|---|"]
    last = len(read) - _READINGS_MAX // 2
    shown = [
        one for number, one in enumerate(read)
        if not one["good"] or number < _READINGS_MAX // 2 or number >= last
    ]  # fmt: skip
    for one in shown:
        values = "; ".join(f"{name} {_value(found)}" for name, found in one["values"].items())
        word = "good" if one["good"] else "bad"
        lines.append(f"| {one['at'][11:23]} | {one['step']} | {word} | {_cell(values)} |")
    if len(shown) < len(read):
        lines += [
            "",
            f"{len(read)} readings in all; {len(read) - len(shown)} good ones are not shown.",
        ]
    return [*lines, ""]


def _proof_lines(r: Mapping[str, Any]) -> list[str]:
    lines = ["## Proof", ""]
    if not r["suites"]:
        lines += ["No suite was run.", ""]
    for name, suite in r["suites"].items():
        word = "open" if suite["open"] else "closed"
        red = suite.get("known_red") or ()
        known = f", {counted(len(red), 'known failure')}" if red else ""
        lines += [
            f"### {name}: {word}, {suite['passed']} passed, {suite['failed']} failed{known}",
            "",
        ]
        lines += [f"- {_text(reason)}" for reason in suite["reasons"]]
        if suite["findings"]:
            lines += ["", "| check | answer | evidence |", "|---|---|---|"]
            for key, found in suite["findings"].items():
                word = " (known red)" if key in red else ""
                lines.append(
                    f"| {key} | {found.get('outcome', '')}{word} | {_cell(found.get('evidence', ''))} |"
                )
        lines.append("")
    for reason in r["gate"].get("reasons") or ():
        lines.append(f"- the gate stayed closed: {_text(reason)}")
    for note in r["gate"].get("notes") or ():
        lines.append(f"- {_text(note)}")
    if r["gate"].get("not_asked"):
        lines.append(
            f"- sealed, and not asked at this level: {_text(', '.join(r['gate']['not_asked']))}"
        )
    if r["not_looked_at"]:
        lines += [
            "",
            "What no check looked at: " + "; ".join(_text(x) for x in r["not_looked_at"]) + ".",
        ]
    return [*lines, ""]


def _loss_lines(r: Mapping[str, Any]) -> list[str]:
    lines = ["## What was lost, and who is concerned", "", measured(r), ""]
    lines += [f"- {_text(line)}" for line in loss(r["impact"])]
    lines += ["", "What was taken away is kept:", ""] if r["kept"] else [""]
    for one in r["kept"]:
        count = "" if one["entries"] is None else (
            f"{counted(one['entries'], 'entry', 'entries')}, {sized(one['bytes'])}, in ")  # fmt: skip
        lines.append(f"- step {_text(one['step'])}: {count}{_text(one['where'])}")
    if r["safety"]:
        back = f"; `rollback undo {r['run_id']}`" if stands(r) and not r["undoes"] else ""
        lines.append(f"- the state before is checkpoint `{r['safety'][:16]}`{back}")
    if r["smallest_scope"]:
        lines += ["", "The smallest level that covers what fails: "
                  f"`{r['smallest_scope']}`."]  # fmt: skip
    if r["fallbacks"]:
        lines += ["", "What could be gone back to instead, each by a plan of its own:", ""]
        lines += [f"- {_text(one['label'])} of {one['at'][:16]}: `--to {_text(one['to'])}`"
                  for one in r["fallbacks"]]  # fmt: skip
    return [*lines, ""]


def _paper_lines(r: Mapping[str, Any]) -> list[str]:
    lines = []
    if r["checklist"]:
        lines += ["## Checklist", ""]
        for item in r["checklist"]:
            mark = "x" if item["done"] else " "
            lines.append(f"- [{mark}] {_text(item['item'])} ({_text(item['evidence'])})")
        lines.append("")
    if r["approvals"]:
        lines += ["## Approvals", ""]
        lines += [
            f"- {_text(a['answer'])} by {_text(a['person'])} at {_text(a['given'])} ({a['proof']})"
            for a in r["approvals"]
        ]
        lines.append("")
    if r["messages"]:
        lines += ["## Messages", ""]
        lines += [
            f"- {m['event']}: {_text(m['name'])} {_text(m['said'])}".rstrip() for m in r["messages"]
        ]
        lines.append("")
    return lines


# -- from the journal ----------------------------------------------------------------------


def _clock(run: Run, kind: str, budget_s: float | None) -> dict[str, Json]:
    took = elapsed_s(run, kind)
    return {
        "took_s": took[0] if took else None, "budget_s": budget_s,
        "approximate": bool(took and took[1]),
    }  # fmt: skip


def _around(
    system: System, run: Run, events: Sequence[Event], budgets: Budgets | None
) -> dict[str, dict[str, Json]]:
    """The two times that begin before a run, or end after it."""
    detected = timing.detected(events, run.id, str(run.plan.get("level")))
    planned = next((event for event in events if event.run == run.id), None)
    watched = system.monitor.stability is not None
    times = {
        "start": timing.took(detected, timing.first_step(events, run.id)),
        "recovery": timing.took(planned, timing.recovered(events, run.id, watched=watched)),
    }
    return {
        name: {"took_s": spent[0] if spent else None, "approximate": bool(spent and spent[1]),
               "budget_s": getattr(budgets, name) if budgets else None}
        for name, spent in times.items()
    }  # fmt: skip


def _steps(run: Run, plan: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    for step in plan["steps"]:
        for one in (step, *step["alternatives"]):
            record = run.steps.get(one["index"])
            if record is None and one is not step:
                continue
            took = None
            if record and record.began_s is not None and record.ended_s is not None:
                took = max(0.0, round(record.ended_s - record.began_s, 3))
            yield {
                "index": one["index"], "id": one["id"], "kind": one["kind"], "says": one["says"],
                "status": record.status if record else "", "took_s": took,
                "error": str(record.evidence.get("error", "")) if record else "",
                "evidence": record.evidence if record else {},
            }  # fmt: skip


def _kept(run: Run, events: Iterable[Event]) -> Iterable[dict[str, Json]]:
    """What the run took away, where it lies and how much it is: as counted, or as a step said."""
    told = [
        event.data["kept"] for event in events if event.kind == "run.noted" and "kept" in event.data
    ]
    counts = told[-1] if told else []
    assert isinstance(counts, list)
    yield from (_dict(one) for one in counts)
    counted_at = tuple(f"{_dict(one)['where']}/" for one in counts)
    for index, record in run.steps.items():
        kept = record.evidence.get("kept")
        for where in map(str, kept if isinstance(kept, list) else ()):
            if not where.startswith(counted_at):
                yield {"step": index, "where": where, "entries": None, "bytes": None}


def _not_looked_at(system: System, run: Run, plan: Mapping[str, Any]) -> list[str]:
    """Declared things that no check of the suites that ran depends on: honest about blind spots."""
    asked = {key for suite in run.suites.values() for key in _dict(suite.get("findings"))}
    seen = [looks_at(system, check) for check in asked]
    blind = [
        f"component {x}" for x in system.components if not any(x in s.components for s in seen)
    ]
    blind += [f"service {x}" for x in system.services if not any(x in s.services for s in seen)]
    blind += [f"flag {x}" for x in system.flags if not any(x in s.flags for s in seen)]
    wanted = plan["gate"].get("suites", [])
    blind += [f"suite {name}" for name in wanted if name not in run.suites]
    return blind if run.state in (State.COMPLETE, State.NEEDS_OPERATOR) else []


def _last_items(events: Iterable[Event]) -> Iterable[Event]:
    last = {event.data["id"]: event for event in events if event.kind == "checklist.item"}
    return last.values()


def _watched(events: Iterable[Event]) -> Iterable[dict[str, Any]]:
    for event in events:
        if event.kind == "sample.read":
            yield {
                "at": event.at, "step": event.data.get("step", ""), "good": event.data["good"],
                "values": dict(_dict(event.data.get("values"))),
            }  # fmt: skip


def _value(found: Mapping[str, Json]) -> str:
    value = found.get("value")
    shown = f"{value:g}" if isinstance(value, (int, float)) else str(value)
    said = f" ({found['said']})" if shown == "UNKNOWN" and found.get("said") else ""
    return f"{shown} {found.get('unit', '')}".rstrip() + said


def _glass(mine: list[Event]) -> dict[str, Json]:
    """Who began the run alone, why, and who looked at it; empty where nobody did."""
    broke = next((event.data for event in mine if event.kind == "glass.broken"), None)
    if broke is None:
        return {}
    looked = next((event.data for event in mine if event.kind == "glass.reviewed"), {})
    return {"by": broke["by"], "reason": broke["reason"], "review_by": broke["review_by"],
            "reviewed_by": looked.get("by", ""), "note": looked.get("note", "")}  # fmt: skip


def _approval(data: Mapping[str, Json]) -> dict[str, Json]:
    proof = "signed" if data.get("signature") else "unauthenticated"
    return {
        "person": data["person"],
        "answer": data["answer"],
        "given": data["given"],
        "proof": proof,
    }


def _message(event: Event) -> dict[str, Json]:
    said = event.data.get("error") or event.data.get("channel") or event.data.get("audience") or ""
    return {
        "event": event.kind.removeprefix("message."),
        "name": event.data.get("name", ""),
        "said": said,
    }


def _said(event: Event) -> str:
    data = event.data
    for key in ("reason", "what", "because", "note", "id", "suite", "name", "person"):
        if data.get(key):
            return str(data[key])
    return ""


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    """Text that cannot become markup, a mention or a control sequence."""
    plain = "".join(c if c.isprintable() else " " for c in str(value))
    for sign in "\\`*_[]<>#|@":
        plain = (
            plain.replace(sign, f"\\{sign}") if sign not in "@" else plain.replace("@", "@\u200b")
        )
    return plain


def _cell(value: object) -> str:
    """Text for a table, cut before it is escaped, so that no escape is cut in two."""
    text = str(value)
    return _text(text if len(text) <= CELL_CHARS_MAX else text[: CELL_CHARS_MAX - 3] + "...")
