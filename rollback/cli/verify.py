"""`rollback verify [SUITE…]`: runs suites as the gate would, without a run."""

from __future__ import annotations

from pathlib import Path

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.cli.given import OneOf
from rollback.cli.show import paint, safe
from rollback.model.errors import UsageError
from rollback.model.quantity import counted, spoken
from rollback.model.step import SUITES, Suite
from rollback.model.system import HOME


@click.command("verify", short_help="Run suites as the gate would, without a run.")
@click.argument("suites", nargs=-1, type=OneOf(SUITES))
@click.option("--level", default="", help="Expect what the gate of this level expects.")
@click.option("--environment", default="production", show_default=True)
@click.option("--results", "folder", metavar="DIR",
              help="Leave JUnit XML (junit/) and Allure results (allure-results/) here.")  # fmt: skip
@pass_desk
def command(
    desk: Desk, suites: tuple[Suite, ...], level: str, environment: str, folder: str | None
) -> int:
    """Ask whether the system is well, now. Exit 7 when it is not proved to be."""
    from rollback.act import stopped
    from rollback.act.plan import find_level
    from rollback.act.sealing import ask_suites, passed
    from rollback.act.seen import in_force
    from rollback.cli.timeline import down_lines, suspended_lines
    from rollback.judge.scope import smallest

    if folder == "":
        raise UsageError("--results names no folder", hint="--results DIR")
    leaves = Path(folder) if folder is not None else None
    with desk.look() as home:
        site = home.there(environment)
        if level:
            level, _ = find_level(site, level)
        results = ask_suites(
            site, suites, level=level, environment=environment, leaves=leaves
        )  # fmt: skip
        green = bool(results) and all(result.open for result in results)
        if green and not suites and environment == HOME:
            passed(site, level)
        failing = [key for r in results for key, found in r.findings.items()
                   if found["outcome"] != "pass" and key not in r.known_red]  # fmt: skip
        # what the gate of a level wants after it is no sign that anything is wrong before it
        early = not green and bool(level) and not in_force(site, level, environment)
        offer = smallest(site.system, failing) if not green and not early else None
        down = () if green else stopped.services(site, environment)
        ill = {} if green else stopped.suspended(site, environment)
        body = {
            "verified": green, "smallest_scope": offer.command if offer else None,
            "not_running": [*down], "suspended": ill,
            "suites": {
                r.suite: {"open": r.open, "passed": r.passed, "failed": r.failed, "skipped": r.skipped,
                          "duration_s": round(r.duration_s, 3), "reasons": list(r.reasons),
                          "known_red": list(r.known_red)}
                for r in results
            },
        }  # fmt: skip

        def lines() -> list[str]:
            said = []
            for r in results:
                mark = paint("✓", "green") if r.open else paint("✗", "red")
                red = f", {counted(len(r.known_red), 'known failure')}" if r.known_red else ""
                said.append(f"{mark} {r.suite:<12} {r.passed} passed, {r.failed} failed{red}  "
                            f"{spoken(r.duration_s)}")  # fmt: skip
                said += [f"    {safe(reason)}" for reason in r.reasons]
            said.append(paint("VERIFIED", "green") if green else paint("NOT VERIFIED", "red"))
            said += suspended_lines(ill, environment) + down_lines(down, environment)
            if early:
                said.append(f"  {level} is not in force: its gate asks for what holds after it; "
                            f"try: {_plainly(environment)}")  # fmt: skip
            if offer:
                covers = ", ".join(offer.components)
                said.append(
                    f"  the smallest level that covers what fails ({covers}): {offer.command}"
                )
            return said

        desk.out(body, lines)
        return 0 if green else 7


def _plainly(environment: str) -> str:
    """What to type to ask how the system is now, whatever a level wants."""
    return "rollback verify" + (f" --environment {environment}" if environment != HOME else "")
