"""`rollback decide`: evaluates the triggers now, with samples and reasons; starts nothing."""

from __future__ import annotations

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.cli.event import pairs
from rollback.cli.show import paint, safe, table
from rollback.model.errors import UsageError
from rollback.model.quantity import duration_s, read_as, spoken

_NO_METRIC = [
    "no metric is declared, so nothing can be measured and no trigger can hold",
    "  declare: metrics: {NAME: {title, unit, source}}, and triggers: that ask for them",
]


@click.command("decide", short_help="Evaluate the triggers now, with samples and reasons.")
@click.option(
    "--fact", "facts", multiple=True, metavar="K=V", help="Something only a person knows."
)
@click.option("--for", "for_", default="1h", show_default=True, metavar="TIME",
              help="How long the facts hold.")  # fmt: skip
@pass_desk
def command(desk: Desk, facts: tuple[str, ...], for_: str) -> int:
    """Read every declared metric, and say what the triggers call for. The decision is journalled."""
    from rollback.act.deciding import decide_now
    from rollback.act.told import tell_facts

    told, for_s = pairs(facts), _seconds(for_)
    if told:
        with desk.site() as site:
            tell_facts(site, told, by=desk.asker(), for_s=for_s)
    with desk.look() as site:
        decision = decide_now(site, told, requester=desk.asker())

        def lines() -> list[str]:
            rows = [
                (s.metric, "UNKNOWN" if s.value is None else read_as(s.value, s.unit), s.count,
                 f"{spoken(s.window_s)}" if s.window_s else "now", safe(s.note))
                for s in decision.samples
            ]  # fmt: skip
            word = decision.respond + (
                f" at {decision.level}" if decision.level else f" {safe(decision.what)}"
            )
            head = ("metric", "value", "readings", "window", "")
            said = [*(table(head, rows) if rows else _NO_METRIC), "",
                    paint(word, "bold"), *(f"  {safe(reason)}" for reason in decision.reasoning)]  # fmt: skip
            if decision.blocked:
                said += [paint(f"{decision.level} is not ready", "red"),
                         *(f"  {safe(why)}" for why in decision.blocked)]  # fmt: skip
                return [*said, f"  try: rollback ready {decision.level}"]
            return said + ([f"  try: rollback run {decision.level}"] if decision.level else [])

        desk.out(decision.as_json(), lines)
        return 0


def _seconds(written: str) -> float:
    try:
        return duration_s(written)
    except ValueError as error:
        raise UsageError(f"--for {written}: {error}", hint="write --for 30m") from None
