"""Alerts of others (Alertmanager, Grafana) become declared events, each episode of an alert once.

An alert is the event that its label `rollback_event` names, or the one that is declared with
`source: "alert:ITS NAME"`. Its labels and annotations fill the declared fields.

Hides: the shape that both programs send.
Never: starts anything; takes a resolved alert for one that fires.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rollback.act.site import Site
from rollback.act.told import fitting, tell_event
from rollback.model.errors import UsageError
from rollback.model.finding import Json
from rollback.model.system import System

LABEL = "rollback_event"
SOURCE = "alert:"
ALERTS_MAX = 10_000
_HINT = "send what Alertmanager or Grafana sends to a webhook: {groupKey, alerts: [...]}"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert as it was sent. `identity` is the same for each repetition of one episode."""

    name: str
    firing: bool
    identity: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of alerts: told now, told before, resolved, and the names that nobody declared."""

    told: int = 0
    before: int = 0
    resolved: int = 0
    unheard: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Json]:
        """For whoever sent them."""
        return {"told": self.told, "before": self.before, "resolved": self.resolved,
                "unheard": list[Json](self.unheard)}  # fmt: skip


def read(body: bytes) -> tuple[Alert, ...]:
    """The alerts of a webhook's body. Raises: UsageError when it is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"these alerts are no JSON: {error}", hint=_HINT) from None
    alerts = found.get("alerts") if isinstance(found, dict) else None
    if not isinstance(alerts, list) or len(alerts) > ALERTS_MAX:
        raise UsageError(f"there is no list of at most {ALERTS_MAX} alerts", hint=_HINT)
    group = str(found.get("groupKey", ""))
    return tuple(_alert(one, group, number) for number, one in enumerate(alerts, start=1))


def tell(site: Site, alerts: tuple[Alert, ...], *, by: str) -> Heard:
    """Each alert that fires is a declared event in the journal, once for each of its episodes."""
    told = before = resolved = 0
    unheard: list[str] = []
    for alert in alerts:
        kind = _event(site.system, alert)
        if not alert.firing:
            resolved += 1
        elif not kind:
            unheard.append(alert.name)
        elif tell_event(
            site, kind, _words(site.system, kind, alert), by=by, identity=alert.identity
        ):
            told += 1
        else:
            before += 1
    for name in dict.fromkeys(unheard):
        _unheard(site, name)
    return Heard(told, before, resolved, tuple(dict.fromkeys(unheard)))


def _alert(body: Any, group: str, number: int) -> Alert:
    labels = body.get("labels") if isinstance(body, dict) else None
    annotations = body.get("annotations", {}) if isinstance(body, dict) else {}
    if not isinstance(labels, dict) or not isinstance(annotations, dict):
        raise UsageError(f"alert {number} has no labels", hint=_HINT)
    words = {str(key): str(value) for key, value in labels.items()}
    print_ = str(body.get("fingerprint") or json.dumps(words, sort_keys=True))
    episode = "\0".join((group, print_, str(body.get("startsAt", ""))))
    identity = f"alert:{hashlib.sha256(episode.encode(errors='replace')).hexdigest()[:32]}"
    return Alert(
        words.get("alertname", ""), body.get("status", "firing") == "firing", identity, words,
        {str(key): str(value) for key, value in annotations.items()},
    )  # fmt: skip


def _event(system: System, alert: Alert) -> str:
    named = alert.labels.get(LABEL, "")
    if named:
        return named if named in system.events else ""
    wanted = f"{SOURCE}{alert.name}"
    return next((name for name, one in system.events.items() if one.source == wanted), "")


def _words(system: System, kind: str, alert: Alert) -> dict[str, str]:
    """What the alert says of the declared fields; a number that is none is left out."""
    event = system.events[kind]
    said = {**alert.annotations, **alert.labels}
    return {name: said[name] for name in fitting(event, said)}


def _unheard(site: Site, name: str) -> None:
    """That nobody declared an event for an alert is in the journal, once for each name."""
    known = any(
        e.kind == "alert.unheard" and e.data.get("name") == name for e in site.journal.events()
    )
    if not known:
        hint = f'declare an event with source: "{SOURCE}{name}", or add the label {LABEL}'
        site.tell("alert.unheard", name=name[:200], hint=hint[:400])
