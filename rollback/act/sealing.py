"""Running the suites outside a run, and keeping how they came out as the seal of a checkpoint.

Hides: where the verdicts of such a run lie.
Never: calls a version good that the suites did not.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rollback.act import eyes
from rollback.act.proving import deadline_s
from rollback.act.site import Site
from rollback.host.below import why
from rollback.host.clock import iso
from rollback.keep.checkpoint import Checkpoint
from rollback.model.errors import HostError, UsageError
from rollback.model.finding import Json
from rollback.model.quantity import listed
from rollback.model.step import Suite
from rollback.observe.expect import shown
from rollback.prove import seal
from rollback.prove.expect import expectations
from rollback.prove.suite import SuiteResult, run_suite


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
    wanted = expectations(site.system, level or None, None, today=site.host.clock.now())
    chosen = tuple(suites) or tuple(suite for suite in wanted.suites if wanted.of(suite))
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
    at = iso(site.host.clock.now())
    kept = None
    owners: list[dict[str, str]] = [{"checkpoint": made.id}]
    owners += [{"commit": commit} for commit in made.heads.values()]
    for owner in owners:
        sealed = seal.make(findings, belongs_to=owner, at=at, system_digest=site.system.digest)
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
