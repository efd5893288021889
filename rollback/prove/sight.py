"""What a session of a suite knows: the declared system, what is wanted of it, and where to look.

Read from the gate's input file when the gate runs the suite, else from the declaration alone.

Hides: the spelling of the gate's input.
Never: imports pytest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rollback.declare import from_source, load, secret_values
from rollback.host import Host
from rollback.host.clock import parse_iso
from rollback.keep.journal import last_at
from rollback.keep.redact import Redactor
from rollback.model.errors import RollbackError, SpecError, UsageError
from rollback.model.event import canonical
from rollback.model.finding import Json, Measured
from rollback.model.registry import Kind, Planned
from rollback.model.step import SUITES
from rollback.model.system import System
from rollback.observe.view import View
from rollback.prove import past
from rollback.prove.expect import Expectations, Expected, declared, expectations
from rollback.prove.seal import Seal

MITIGATED = "run.mitigated"  # by hand, "since mitigation" means since the last one


@dataclass(frozen=True)
class Wish:
    """What the command line asked for; all of it optional but for the system."""

    system: str | None = None
    state: str | None = None
    level: str = ""
    expect: str | None = None
    since: str | None = None
    baseline: str | None = None
    environment: str = "production"
    run: str = ""


@dataclass(frozen=True)
class Sight:
    """One look at one system: `wanted` by check id, `checks` the declared ones by id."""

    view: View
    wanted: Expectations
    checks: Mapping[str, Kind]
    _learnt: list[str] = field(default_factory=list)

    @cached_property
    def hide(self) -> Redactor:
        """What keeps the secrets of the declaration out of everything that is told."""
        return self._hiding()

    def keep_secret(self, values: Iterable[str]) -> None:
        """These are secrets too, from now on: what a test of the team is given under a telling name."""
        more = [one for one in values if one not in self._learnt]
        if more:
            self._learnt.extend(more)
            self.__dict__["hide"] = self._hiding()

    def _hiding(self) -> Redactor:
        known = (*secret_values(self.system), *self._learnt)
        return Redactor(known, keys=self.system.guardrails.redact_keys)

    @property
    def system(self) -> System:
        """The declared system."""
        return self.view.system

    def asked_in(self, suite: str) -> list[str]:
        """The ids that are asked in this suite, in the order of the declaration."""
        return [
            key for key, one in self.wanted.of(suite).items()
            if one.wanted != "absent" and not isinstance(self.checks[key], Planned)
        ]  # fmt: skip


def look(wish: Wish, environ: Mapping[str, str] | None = None) -> Sight:
    """The system is loaded and what is wanted of it is known. Raises: UsageError."""
    import rollback.kinds  # noqa: F401 - a declaration may name every kind

    known = os.environ if environ is None else environ
    named = wish.system or known.get("ROLLBACK_SYSTEM") or ""
    if not named and not Path("rollback.yaml").exists():
        raise UsageError(
            "no system: give --system FILE, set ROLLBACK_SYSTEM, or stand where rollback.yaml is"
        )
    try:
        system = _system(wish, Path(named or "rollback.yaml"))
        about = past.run(system, wish.run) if wish.run else None
        if about is not None:  # as its gate asked; what is given beside it counts more
            wish = replace(wish, level=wish.level or about.level, environment=about.environment,
                           since=wish.since or about.since or None)  # fmt: skip
            system = system.in_environment(wish.environment)
        sealed = _sealed(wish, system, about)
        wanted, held = _wanted(wish, system, sealed)
        since_at = wish.since or (
            "" if wish.expect else last_at(system.state_path, MITIGATED, Host())
        )
        since = parse_iso(since_at) if since_at else None
        baseline = sealed.samples if sealed is not None else {}
    except SpecError as error:
        lines = [f"{p.where}: {p.message}" for p in error.problems[:20]]
        raise UsageError("the declaration is wrong: " + "\n       ".join(lines)) from error
    except (RollbackError, OSError, ValueError) as error:
        raise UsageError(str(error)) from error
    view = View(system, Host(), wish.environment, since, baseline, held)
    return Sight(view, wanted, {key: check for _suite, key, check in declared(system)})


def gate_input(
    system: System, expected: Mapping[str, Expected], level: str,
    held: Mapping[str, Mapping[str, Json]] | None,
) -> bytes:  # fmt: skip
    """What the gate hands to the child, as bytes: the declaration of the run goes with it."""
    return canonical({
        "declaration": system.kept(), "level": level,
        "checks": {key: asdict(one) for key, one in expected.items()},
        "held": {name: dict(one) for name, one in (held or {}).items()},
    })  # fmt: skip


def _system(wish: Wish, file: Path) -> System:
    """The declaration that the gate handed over, whatever the file says by now; else the file's."""
    state = Path(wish.state) if wish.state else None
    if wish.expect is None or state is None:
        return load(file, state=state, environment=wish.environment)
    kept = json.loads(Path(wish.expect).read_bytes())["declaration"]
    found = from_source(kept, declaration=file.absolute(), state=state)
    return found.in_environment(wish.environment)


def _wanted(
    wish: Wish, system: System, sealed: Seal | None
) -> tuple[Expectations, Mapping[str, Mapping[str, Json]]]:
    if wish.expect is None:
        if wish.level and wish.level not in system.levels:
            raise UsageError(f"there is no level {wish.level!r}")
        today = Host().clock.now()
        return expectations(system, wish.level or None, sealed, today=today), _held(system)
    value: dict[str, Any] = json.loads(Path(wish.expect).read_bytes())
    checks = {
        key: Expected(**{**one, "measured": tuple(Measured(**was) for was in one["measured"])})
        for key, one in value["checks"].items()
    }
    suites = tuple(s for s in SUITES if any(one.suite == s for one in checks.values()))
    return Expectations(suites, checks, value["level"]), value["held"]


def _held(system: System) -> Mapping[str, Mapping[str, Json]]:
    """What the newest checkpoints hold of append-only files; nothing where there are none."""
    if not (system.state_path / "store").is_dir():
        return {}
    from rollback.keep.checkpoint import Checkpoints

    host = Host()
    with host.tree(str(system.state_path)) as state, Checkpoints(system, host, state) as kept:
        return kept.held()


def _sealed(wish: Wish, system: System, about: past.Named | None) -> Seal | None:
    """The seal that is compared with: the one named, else of what the run went back to."""
    if wish.baseline is not None:
        return past.seal(system, wish.baseline)
    return past.newest_seal(system, about.target) if about is not None else None
