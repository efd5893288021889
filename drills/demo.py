"""The main job, shown: a studio gets a bad release under load, and is rolled back and proved well.

Hides: which release is bad in the way that a level is for.
Never: pretends; what it prints was measured, and the exit status is the run's.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

import rollback.kinds  # noqa: F401 - registers every kind
from drills import demo_agent
from drills.faults.watchdog import Watchdog
from drills.load import Load
from drills.sandboxes.studio import DECLARATION, Studio
from rollback.act import authorize, service
from rollback.act.deciding import decide_now
from rollback.act.driving import drive
from rollback.act.plan import Plan, find_level, make_plan
from rollback.act.sealing import seal_checkpoint
from rollback.act.site import Site
from rollback.cli.failing import status_of
from rollback.cli.pasted import options, pasted
from rollback.cli.planning import plan_lines
from rollback.cli.show import paint, plain_json, seconds, table
from rollback.cli.timeline import Live, exit_status, result, result_lines
from rollback.declare import load
from rollback.host import Host
from rollback.judge.decision import Decision
from rollback.model import dependencies
from rollback.model.errors import NeedsOperator, PlanError, RollbackError, UsageError
from rollback.model.lifecycle import FINAL, Run, State
from rollback.model.quantity import read_as
from rollback.observe.view import View

LOAD_PER_S = 20.0
NOTICE_S_MAX = 60.0
DEMO_S_MAX = 1800.0
RESTORED_BROKEN = "restored-version-broken"
FAULT_OF = {
    "flag": "context-leak",
    "configuration": "wrong-configuration",
    "code": "errors-5xx",
    "full-restore": "corrupt-state",
    "component": "damaged-knowledge",
}


@dataclass
class Stage:
    """What the demo prints on: standard error for people, silent for `--json`."""

    quiet: bool

    def head(self, text: str) -> None:
        """A heading."""
        self.say(["", paint(text, "bold", stream=sys.stderr)])

    def say(self, lines: list[str]) -> None:
        """Lines of progress."""
        if not self.quiet:
            print("\n".join(lines), file=sys.stderr, flush=True)


def demo(
    level: str | None, fault: str | None, directory: Path, *, as_json: bool, keep: bool,
    agent: bool = False,
) -> int:  # fmt: skip
    """The whole demo; its exit status. With `agent`, a process of its own notices and goes back.

    Whatever becomes of this process, no service is left running, unless `keep`.
    """
    stage = Stage(quiet=as_json)
    if agent and level is not None:
        raise UsageError(
            "the agent decides how far to go back", hint="leave out --level, or --agent"
        )
    level, fault = _choice(level, fault)  # a wrong word is refused before anything is built
    studio = Studio.build(directory)
    stage.head(f"A studio in {directory}")
    try:
        key = demo_agent.declare_approver(studio) if agent else None
        return _shown(studio, stage, level, fault, as_json=as_json, keep=keep, key=key)
    except (
        KeyboardInterrupt,
        RollbackError,
    ):  # whatever its end was, what can be typed now is said
        stage.say(_next(studio, _last(studio), fault, keep))
        raise


def _shown(
    studio: Studio, stage: Stage, level: str, fault: str, *, as_json: bool, keep: bool, key: Path | None,
) -> int:  # fmt: skip
    system, directory = load(studio.declaration), studio.directory
    here = partial(pasted, given=options(str(studio.declaration), None))
    with ExitStack() as stack:
        if not keep:
            stack.enter_context(Watchdog(folders=[directory], keep=True, within_s=DEMO_S_MAX))
        live = Live(quiet=as_json, pasted=here)
        site = stack.enter_context(Site.open(system, Host(), listen=live))
        stack.enter_context(_services(site, keep=keep))
        stage.say(
            [f"  v1.0.0 runs: {', '.join(system.services)}; three agents hand work to each other"]
        )
        with Load(studio.router_url, LOAD_PER_S, counts_file=directory / "load.json"):
            _checkpoint(site, stage)
            if key is not None:
                run = _agent(site, studio, fault, stage, key, live)
            else:
                shipped = _ship(site, studio, fault, stage)
                decision = _notice(site, stage, since_s=shipped)
                if fault == RESTORED_BROKEN:
                    studio.break_restored_version()
                run = _go_back(site, level or decision.level, fault, stage)
        ended = result(site, run)
        if as_json:
            click.echo(plain_json(ended))
        else:
            said = map(here, result_lines(site, run))
            click.echo("\n".join([*said, *_next(studio, run, fault, keep)]))
        return exit_status(run)


def _agent(site: Site, studio: Studio, fault: str, stage: Stage, key: Path, live: Live) -> Run:
    """The run that the agent began by itself and went on with when its approver had said yes."""

    def asked() -> None:
        stage.say(["  it asks for a yes: this level wants one"])
        if fault == RESTORED_BROKEN:
            studio.break_restored_version()

    stage.head("The agent watches: rollback monitor, a process of its own")
    with demo_agent.watching(studio) as agent:
        shipped = _ship(site, studio, fault, stage)
        stage.head("Nobody types run")
        return demo_agent.followed(site, agent, key, stage.say, live, since_s=shipped, asked=asked)


def _last(studio: Studio) -> Run | None:
    """The run that the demo began, if it came so far."""
    with suppress(RollbackError), Site.open(load(studio.declaration), Host()) as site:
        return next(reversed(site.runs().values()), None)
    return None


def _next(studio: Studio, run: Run | None, fault: str, keep: bool) -> list[str]:
    """What to type to go on with this studio, in lines that work when pasted."""
    program = (
        "rollback" if shutil.which("rollback") else str(Path(sys.executable).with_name("rollback"))
    )
    ours = shlex.join([program, "--system", str(studio.declaration)])
    if keep:
        return ["", "  its services go on; stop them:", f"    {ours} run stop --yes"]
    lines = ["", f"  its services are stopped, its files stay in {studio.directory}"]
    if fault == RESTORED_BROKEN:
        lines.append("  to put right what broke the version that was restored:")
        lines.append(f"    {shlex.join(['cp', *map(str, studio.good_catalogue)])}")
    lines += ["  to start it again:", f"    {ours} run start --yes"]
    if run is not None and run.state not in FINAL:
        back = "undo" if run.state is State.NEEDS_OPERATOR else "abort"
        confirmed = " --yes" if back == "undo" else ""
        lines += ["  and then have it proved, or taken back:", f"    {ours} resume {run.id}"]
        if run.state is not State.MITIGATED:  # whose steps are done: the gate comes first
            lines.append(f"    {ours} {back} {run.id}{confirmed}")
    return [*lines, "  and at the end:", f"    {ours} run stop --yes"]


def _choice(level: str | None, fault: str | None) -> tuple[str, str]:
    """The level ("": the decision picks it) and the kind of bad release, both known."""
    levels = load(DECLARATION).levels
    if level is not None:
        level = {str(found.rank): key for key, found in levels.items()}.get(level, level)
        if level not in levels:
            raise PlanError(f"the studio has no level {level}", hint=f"levels: {', '.join(levels)}")
    known = (*Studio.FAULTS, RESTORED_BROKEN)
    if fault is not None and fault not in known:
        raise UsageError(f"the demo has no fault {fault}", hint=f"faults: {', '.join(known)}")
    return level or "", fault or FAULT_OF.get(level or "", "errors-5xx")


@contextmanager
def _services(site: Site, *, keep: bool) -> Iterator[None]:
    """The studio's services run inside, and are stopped afterwards unless they are to stay."""
    view = View(site.system, site.host)
    names = dependencies.ordered(site.system, site.system.services)
    try:
        for name in names:
            service.start(view, name, within_s=20.0)
        yield
    finally:
        if not keep:
            for name in reversed(names):
                service.stop(view, name, within_s=20.0)


def _checkpoint(site: Site, stage: Stage) -> None:
    stage.head("A checkpoint of what is good, and its seal")
    made = site.checkpoints.create(
        "v1.0.0", kind="release", components=None, reason="before v2.0.0"
    )
    site.tell("checkpoint.created", checkpoint=made.id, name=made.name, state=made.state)
    stage.say(
        [f"  {made.name}  {made.id[:16]}  {len(made.components)} components, re-read and re-hashed"]
    )
    with _working(stage, "the four suites run against v1.0.0"):
        sealed = seal_checkpoint(site, made)
    stage.say([f"  sealed: {sealed.said}"])
    if not sealed.green:
        raise NeedsOperator("the studio is not well before anything was shipped", hint=sealed.said)


def _ship(site: Site, studio: Studio, fault: str, stage: Stage) -> float:
    release = Studio.FAULTS[fault] if fault in Studio.FAULTS else "v2.0.0"
    stage.head(f"{release} is shipped")
    view = View(site.system, site.host)
    names = dependencies.ordered(site.system, site.system.services)

    def restart() -> None:
        for name in reversed(names):
            service.stop(view, name, within_s=20.0)
        for name in names:
            try:
                service.start(view, name, within_s=4.0 if fault == "refuses-to-start" else 20.0)
            except RollbackError as error:
                if fault != "refuses-to-start":
                    raise
                stage.say([f"  {error}"])

    site.tell("deployment.started", release=release)
    studio.ship(release, restart)
    site.tell("deployment.done", release=release)
    stage.say([f"  main is at {release}; the load goes on"])
    return site.host.clock.boot_s()


def _notice(site: Site, stage: Stage, *, since_s: float) -> Decision:
    """The decision that calls for a rollback, with its samples. Raises: NeedsOperator after a minute."""
    stage.head("The declared metrics are watched")
    last: list[Decision] = []

    def bad() -> bool:
        last[:] = [decide_now(site)]
        return last[0].respond == "roll-back"

    with _working(stage, "metrics are read once a second"):
        noticed = site.host.clock.poll(bad, within_s=NOTICE_S_MAX, every_s=1.0)
    decision = last[0]
    rows = [
        (s.metric, "UNKNOWN" if s.value is None else read_as(s.value, s.unit), s.count, s.note)
        for s in decision.samples
    ]
    stage.say(table(("metric", "value", "readings", ""), rows, indent="  "))
    if not noticed:
        raise NeedsOperator("no trigger fired within a minute", hint="; ".join(decision.reasoning))
    took = site.host.clock.boot_s() - since_s
    stage.say(
        [f"  noticed after {seconds(took)}", *(f"  {reason}" for reason in decision.reasoning)]
    )
    return decision


def _go_back(site: Site, level: str, fault: str, stage: Stage) -> Run:
    key, found = find_level(site, level)
    component = "knowledge" if getattr(found, "component", None) == "required" else ""
    plan: Plan = make_plan(
        site, key, run=authorize.next_run_id(site), requester=site.system.people.members[0].id,
        component=component, reason=f"demo: {fault}",
    )  # fmt: skip
    stage.head("The plan")
    stage.say(plan_lines(plan))
    stage.head("The rollback")
    run = authorize.create(site, plan)
    authorize.approve(site, run, person=plan.requester, note="the demo confirms")
    return drive(site, run, wait=True)


@contextmanager
def _working(stage: Stage, what: str) -> Iterator[None]:
    """A dot a second while something takes long, on a terminal."""
    if stage.quiet or not sys.stderr.isatty():
        stage.say([f"  {what} ..."])
        yield
        return
    done = threading.Event()

    def tick() -> None:
        for count in range(600):
            print(f"\r  {what} {count} s ", end="", file=sys.stderr, flush=True)
            if done.wait(1.0):
                break
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@click.command("demo")
@click.option("--level", help="flag, configuration, code, full-restore, component, or a rank.")
@click.option("--fault", help="Ship this kind of bad release instead of the level's own.")
@click.option("--dir", "directory", help="A new folder.")
@click.option("--json", "as_json", is_flag=True)
@click.option("--keep", is_flag=True, help="Leave the studio running.")
@click.option("--agent", is_flag=True, help="The agent notices, decides, asks, and goes back.")
def _command(
    level: str | None, fault: str | None, directory: str | None, as_json: bool, keep: bool, agent: bool,
) -> int:  # fmt: skip
    if directory == "":
        raise UsageError("--dir names no folder", hint="name a new one, or leave --dir out")
    where = Path(directory).absolute() if directory else _fresh()
    return demo(level, fault, where, as_json=as_json, keep=keep, agent=agent)


def _fresh() -> Path:
    """A new folder: below `reports/` of a checkout, else below the current one."""
    stamp = f"{Host().clock.now():%Y%m%d-%H%M%S}"
    above = Path("reports") if Path("reports", "README.md").is_file() else Path()
    return (above / f"demo-{stamp}").absolute()


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status of the demo with these words, by default those that were typed."""
    words = list(sys.argv[1:] if argv is None else argv)
    return status_of(
        lambda: _command.main(args=words, prog_name="rollback demo", standalone_mode=False),
        as_json="--json" in words,
        program="rollback demo",
        interrupted="rollback demo, for a new one; of this one nothing runs any more",
    )


if __name__ == "__main__":
    sys.exit(main())
