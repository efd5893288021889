"""Running the suites outside a run, and keeping how they came out as the seal of a checkpoint.

Hides: where the verdicts of such a run lie.
Never: calls a version good that the suites did not.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rollback.act import eyes
from rollback.act.plan import find_level
from rollback.act.proving import deadline_s
from rollback.act.sealed import known_red
from rollback.act.seen import VERIFIED
from rollback.act.site import Site
from rollback.act.target import Wish, last_good
from rollback.host.below import why
from rollback.host.clock import iso, parse_iso
from rollback.keep.checkpoint import Checkpoint
from rollback.model.errors import HostError, UsageError
from rollback.model.finding import Json
from rollback.model.quantity import listed
from rollback.model.step import Suite
from rollback.observe.expect import shown
from rollback.prove import seal
from rollback.prove.expect import expectations
from rollback.prove.listed import listed as listed_now
from rollback.prove.seal import Seal
from rollback.prove.suite import SuiteResult, run_suite

TOLD_AGAIN_S = 3600.0  # whoever verifies every minute does not fill the journal


@dataclass(frozen=True)
class Sealed:
    """A seal that was made: its id, how many checks passed and failed, which suites were open."""

    id: str
    green: bool
    passed: int
    failed: int
    reasons: tuple[str, ...]

    @property
    def said(self) -> str:
        """One line for people."""
        word = "all green" if self.green else f"not green: {listed(self.reasons)}"
        return f"{self.passed} passed, {self.failed} failed, {word}"

    def as_json(self) -> dict[str, Json]:
        """For `--json`."""
        return {"id": self.id, "green": self.green, "passed": self.passed, "failed": self.failed,
                "reasons": [*self.reasons]}  # fmt: skip


def ask_suites(
    site: Site, suites: Iterable[Suite] = (), *, level: str = "", environment: str = "production",
    leaves: Path | None = None,
) -> list[SuiteResult]:  # fmt: skip
    """Each suite's result, in order; all of them are run, none is stopped by the one before.

    Without `suites`, those for which something is declared. `leaves` is where Allure results and
    JUnit XML go; without it none are written.
    """
    if leaves is not None:
        leaves = _made(site, leaves)
    now, sealed = site.host.clock.now(), _sealed_for(site, level)
    wanted = expectations(site.system, level or None, sealed, today=now)
    team = {part for one in site.system.verification.suites for part in one.path.split("/")[:-1]}
    chosen = tuple(suites) or tuple(s for s in wanted.suites if wanted.of(s) or s in team)
    view = eyes.of(site, environment)
    results = []
    for suite in chosen:
        with site.host.scratch() as work:
            results.append(run_suite(
                suite, system=site.system, host=site.host, expectations=wanted, environment=environment,
                since=view.since, work=Path(work), leaves=leaves,
                deadline_s=deadline_s(site.system, suite), level=level or None, held=view.held,
            ))  # fmt: skip
    return results


def passed(site: Site, level: str) -> None:
    """That everything of this list has passed is in the journal; not again when that was told just now."""
    asked = listed_now(site.system, expectations(site.system, level or None))
    if not site.state.writable or not site.system.state_path.is_dir():
        return
    told: Json = asked.as_json()
    before = [one for one in site.journal.events() if one.kind == VERIFIED
              and (one.data.get("level"), one.data.get("asked")) == (level, told)]  # fmt: skip
    since_s = TOLD_AGAIN_S
    if before:
        since_s = (site.host.clock.now() - parse_iso(before[-1].at)).total_seconds()
    if since_s >= TOLD_AGAIN_S:
        site.tell(VERIFIED, level=level, asked=told)


def _sealed_for(site: Site, level: str) -> Seal | None:
    """The seal of what this level would go back to by default; None where none is asked about."""
    if not level:
        return None
    best = last_good(site, Wish(may_be_red=known_red(site, find_level(site, level)[1])))
    return seal.newest(site.state.tree, {"checkpoint": best.id}) if best is not None else None


def _made(site: Site, folder: Path) -> Path:
    """The folder is there, and its absolute path. Raises: UsageError."""
    whole = folder.absolute()
    try:
        with site.host.tree("/") as top:
            top.make_folder(str(whole.relative_to("/")), parents=True)
        if os.access(whole, os.W_OK):
            return whole
        reason = "it may not be written in"
    except (OSError, HostError) as error:
        reason = shown(why(error))
    place = shown(str(folder)) or "nowhere"
    raise UsageError(f"results cannot go to {place}: {reason}", hint="name another folder")


def seal_checkpoint(site: Site, made: Checkpoint) -> Sealed:
    """The outcome of all suites, run now, is kept as the seal of this checkpoint (and its commit)."""
    results = ask_suites(site)
    findings = {key: one for result in results for key, one in result.sealed().items()}
    tests: dict[str, Mapping[str, str]] = {one.suite: one.team for one in results}
    asked = listed_now(site.system, expectations(site.system))
    at = iso(site.host.clock.now())
    kept = None
    owners: list[dict[str, str]] = [{"checkpoint": made.id}]
    owners += [{"commit": commit} for commit in made.heads.values()]
    for owner in owners:
        sealed = seal.make(findings, belongs_to=owner, at=at, system_digest=site.system.digest,
                           tests=tests,
                           asked={"checks": asked.checks, "files": asked.files})  # fmt: skip
        kept = (
            seal.save(site.state.tree, sealed)
            if kept is None
            else (seal.save(site.state.tree, sealed), kept)[1]
        )
    assert kept is not None
    green = bool(results) and all(result.open for result in results)
    site.tell("checkpoint.sealed", checkpoint=made.id, seal=kept, green=green)
    reasons = tuple(reason for result in results for reason in result.reasons)
    passed = sum(result.passed for result in results)
    return Sealed(kept, green, passed, sum(result.failed for result in results), reasons)
