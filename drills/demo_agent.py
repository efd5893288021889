"""The agent of the demo: a process beside the studio that notices, decides, asks, and goes back.

Nobody types `run`. Where the level asks for a yes, the studio's own approver gives it, signed with a
key that was made for this demo and declared before anything was trusted.

Hides: the agent's process, and how its run is followed from outside.
Never: drives the run: what is shown is what the agent did.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from drills.sandboxes.studio import Studio
from rollback.act import authorize
from rollback.act.site import Site
from rollback.cli.show import seconds
from rollback.cli.timeline import Live
from rollback.host.processes import base_environment
from rollback.judge.unasked import AGENT
from rollback.model.errors import NeedsOperator
from rollback.model.event import Event
from rollback.model.lifecycle import Run, State

NOTICE_S_MAX = 120.0
COMPLETE_S_MAX = 900.0
END_S = 60.0
_MEMBER = "{id: an-operator, roles: [operator]}"


def declare_approver(studio: Studio) -> Path:
    """The studio's operator has a key of this demo; the private half, beside the declaration."""
    key = studio.directory / "approver-key"
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "an-operator", "-f", str(key)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    kind, public, *_ = Path(f"{key}.pub").read_text(encoding="ascii").split()
    text = studio.declaration.read_text(encoding="utf-8")
    assert _MEMBER in text, "the studio declares its operator"
    signing = _MEMBER.replace("}", f', key: "{kind} {public}"}}')
    studio.declaration.write_text(text.replace(_MEMBER, signing), encoding="utf-8")
    return key


@contextmanager
def watching(studio: Studio) -> Iterator[subprocess.Popen[bytes]]:
    """`rollback monitor` runs beside the studio meanwhile; it is asked to end, and has ended."""
    argv = [
        sys.executable,
        "-m",
        "rollback",
        "--system",
        str(studio.declaration),
        "--json",
        "monitor",
    ]
    with (studio.directory / "agent.jsonl").open("wb") as out:
        with (studio.directory / "agent.log").open("wb") as err:
            agent = subprocess.Popen(
                argv, cwd=studio.directory, stdout=out, stderr=err, stdin=subprocess.DEVNULL,
                env=base_environment(),
            )  # fmt: skip
        try:
            yield agent
        finally:
            agent.terminate()
            try:
                agent.wait(END_S)
            except subprocess.TimeoutExpired:
                agent.kill()
                agent.wait()


def followed(
    site: Site, agent: subprocess.Popen[bytes], key: Path, say: Callable[[list[str]], None], live: Live,
    *, since_s: float, asked: Callable[[], None],
) -> Run:  # fmt: skip
    """The run that the agent began, at its end; it was followed event by event, and approved once.

    `asked` is called before the yes. Raises: NeedsOperator when the agent begins none in time.
    """
    seen = len(site.journal.events())
    shown: list[str] = []

    def step() -> bool:
        nonlocal seen
        events = site.journal.events()
        for event in events[seen:]:
            _show(event, say, live, shown, site.host.clock.boot_s() - since_s)
        seen = len(events)
        run = _own(site)
        if run is None:
            return agent.poll() is not None
        if (
            run.state is State.WAITING
            and run.waiting_for.get("on") == "approval"
            and not run.approvals
        ):
            asked()
            person = site.system.people.members[0].id
            authorize.approve(site, run, person=person, note="the demo's approver", key=str(key))
            say([f"  {person} says yes, with a signature of their own key"])
        return run.over

    limit_s = NOTICE_S_MAX if _own(site) is None else COMPLETE_S_MAX
    site.host.clock.poll(lambda: _own(site) is not None or agent.poll() is not None,
                         within_s=limit_s, every_s=0.2)  # fmt: skip
    if _own(site) is None:
        raise NeedsOperator(
            "the agent began no run in time", hint="look into agent.log beside the studio"
        )
    site.host.clock.poll(step, within_s=COMPLETE_S_MAX, every_s=0.1)
    step()
    run = _own(site)
    assert run is not None, "there was one"
    return run


def _own(site: Site) -> Run | None:
    return next((run for run in site.runs().values() if run.plan.get("requester") == AGENT), None)


def _show(
    event: Event, say: Callable[[list[str]], None], live: Live, shown: list[str], after_s: float
) -> None:
    if event.kind == "decision.taken" and event.data.get("ticks") is not None:
        reasons = event.data.get("reasoning")
        because = [f"    {reason}" for reason in reasons] if isinstance(reasons, list) else []
        if event.data["respond"] == "roll-back" and "noticed" not in shown:
            shown.append("noticed")
            say(
                [
                    f"  decided after {seconds(after_s)}: roll back at {event.data['level']}",
                    *because,
                ]
            )
    live(event)
