"""`rollback decide`: evaluates the triggers now, with samples and reasons; starts nothing."""

from __future__ import annotations

import os
from typing import IO

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.cli.event import pairs
from rollback.cli.show import paint, safe, table
from rollback.model.errors import UsageError
from rollback.model.quantity import duration_s, read_as, spoken

NO_METRIC = "  declare: metrics: {NAME: {title, unit, source}}, and triggers: that ask for them"
NO_TRIGGER = "  declare: triggers: [{id, when: {metric, above}, respond: {roll_back: LEVEL}}]"
_NOT_KEPT = [
    "this decision is in no journal: nothing was ever kept here",
    "  try: rollback checkpoint create NAME",
]
_NO_METRIC = [
    "no metric is declared, so nothing can be measured and no trigger can hold",
    NO_METRIC,
]


@click.command("decide", short_help="Evaluate the triggers now, with samples and reasons.")
@click.option(
    "--fact", "facts", multiple=True, metavar="K=V", help="Something only a person knows."
)
@click.option("--for", "for_", default="1h", show_default=True, metavar="TIME",
              help="How long the facts hold.")  # fmt: skip
@click.option("--alertmanager", "alerts", default=None, type=click.File("rb"), metavar="FILE",
              help="Alerts as Alertmanager or Grafana sends them; - for standard input.")  # fmt: skip
@pass_desk
def command(desk: Desk, facts: tuple[str, ...], for_: str, alerts: IO[bytes] | None) -> int:
    """Read every declared metric, and say what the triggers call for. The decision is journalled."""
    from rollback.act.deciding import decide_now
    from rollback.act.reacting import settling
    from rollback.act.told import tell_facts
    from rollback.judge.decision import ruled

    told, for_s = pairs(facts), _seconds(for_)
    if told:
        with desk.site() as site:
            tell_facts(site, told, by=desk.asker(), for_s=for_s)
    if alerts is not None:
        _tell_alerts(desk, alerts)
    kept = os.path.lexists(desk.system.state_path)
    with desk.look() as site:
        decision = decide_now(site, told, requester=desk.asker())
        best = decision.best
        held = settling(site, best) if decision.level and best is not None else ""

        def lines() -> list[str]:
            rows = [
                (s.metric, "UNKNOWN" if s.value is None else read_as(s.value, s.unit), s.count,
                 f"{spoken(s.window_s)}" if s.window_s else "now", safe(s.note))
                for s in decision.samples
            ]  # fmt: skip
            word = decision.respond + (
                f" at {decision.level}" if decision.level else f" {safe(decision.what)}".rstrip()
            )
            head = ("metric", "value", "readings", "window", "")
            said = [*(table(head, rows) if rows else _NO_METRIC), "",
                    paint(word, "bold"), *(f"  {safe(reason)}" for reason in decision.reasoning)]  # fmt: skip
            if held:
                said += [f"  {held}", "  try: rollback verify"]
                return said if kept else [*said, *_NOT_KEPT]
            if decision.blocked:
                said += [paint(f"{decision.level} is not ready", "red"),
                         *(f"  {safe(why)}" for why in decision.blocked)]  # fmt: skip
                return [*said, f"  try: rollback ready {decision.level}"]
            if not ruled(site.system):
                said.append(NO_TRIGGER)
            said += [f"  try: rollback run {decision.level}"] if decision.level else []
            return said if kept else [*said, *_NOT_KEPT]

        desk.out({**decision.as_json(), "held": held}, lines)
        return 0


def _tell_alerts(desk: Desk, sent: IO[bytes]) -> None:
    """The alerts are events in the journal; what nobody declared is said."""
    from rollback.act import alerts
    from rollback.act.alerts import LABEL, SOURCE
    from rollback.host.serving import BODY_BYTES_MAX

    body = sent.read(BODY_BYTES_MAX + 1)
    if len(body) > BODY_BYTES_MAX:
        raise UsageError(
            f"these alerts are more than {BODY_BYTES_MAX} bytes", hint="send fewer at once"
        )
    found = alerts.read(body)
    with desk.site() as site:
        heard = alerts.tell(site, found, by="alertmanager")
    for name in heard.unheard:
        said = f'no event is declared for alert {safe(name)}; try: source: "{SOURCE}{safe(name)}"'
        click.echo(f"rollback: {said}, or the label {LABEL}", err=True)


def _seconds(written: str) -> float:
    try:
        return duration_s(written)
    except ValueError as error:
        raise UsageError(f"--for {written}: {error}", hint="write --for 30m") from None
