"""Steps, prerequisites and decisions see what the gate sees: what was held, and since when it counts."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from rollback.act import authorize, starting
from rollback.act.deciding import decide_now
from rollback.act.engine import roll_back
from rollback.act.site import Site
from rollback.host.clock import iso
from rollback.model.finding import Answer
from rollback.model.lifecycle import Run, State
from tests.systems import Shop, build

CHECKS = """
    - log: {id: trail-whole, file: logs/trail.jsonl, append_only: trail}
    - log: {id: no-errors, file: logs/app.jsonl, lacks: [ERROR], since: mitigation}
"""
METRIC = """
metrics:
  trail_whole:
    title: The trail is whole
    unit: boolean
    source: {check: {log: {file: logs/trail.jsonl, append_only: trail}}}
levels:
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with a trail that only grows, and a log in which an error of yesterday stands."""
    made = build(tmp_path / "shop")
    made.edit("  pages: {path: pages, content: files}",
              "  pages: {path: pages, content: files}\n"
              "  trail: {path: logs/trail.jsonl, content: append-only}")  # fmt: skip
    made.edit("verification:\n  smoke:", f"verification:\n  smoke:{CHECKS.rstrip()}")
    made.edit("levels:\n", METRIC.lstrip("\n"))
    (made.tree / "logs").mkdir()
    (made.tree / "logs" / "trail.jsonl").write_text('{"first": 1}\n')
    log(made, "ERROR the release was bad")
    with made.site() as site:
        site.checkpoints.create("before-release")
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    return made


def log(shop: Shop, said: str) -> None:
    """A line that says when it was written."""
    with (shop.tree / "logs" / "app.jsonl").open("a") as file:
        file.write(json.dumps({"at": iso(shop.clock.now()), "said": said}) + "\n")


def with_step(shop: Shop, step: str) -> None:
    shop.edit("steps: [{restore: {component: config}}]",
              "steps: [{restore: {component: config}}, " + step + "]")  # fmt: skip


def ended(shop: Shop, site: Site) -> Run:
    run = authorize.create(site, shop.plan(site, "config"))
    authorize.approve(site, run, person="ada")
    return roll_back(site, run.id)


@pytest.mark.parametrize("step", [
    "{verify: {suite: smoke}}",
    "{verify: {checks: [trail-whole, no-errors], for: 0.5s, every: 0.1s}}",
    "{watch: {checks: [trail-whole, no-errors], expect: [{metric: trail_whole, above: 0}], "
    "for: 0.5s, every: 0.1s}}",
])  # fmt: skip
def test_a_step_in_the_middle_is_asked_like_the_gate(shop: Shop, step: str) -> None:
    """What was held is known to it, and what was wrong before the run put it right is not held on."""
    with_step(shop, step)
    with shop.site() as site:
        run = ended(shop, site)
        assert run.state is State.COMPLETE, run.reason


@pytest.mark.parametrize("kind", ["verify", "watch"])
def test_what_goes_wrong_after_the_last_change_counts(shop: Shop, kind: str) -> None:
    """An error while the step still looks fails it; that it began to look hides nothing."""
    with_step(shop, "{notify: {message: told, audience: all}}, "
              f"{{{kind}: {{checks: [no-errors], for: 60s, every: 0.1s, on_fail: person}}}}")  # fmt: skip
    shop.edit("people:\n", "notify: {channels: {all: {file: {path: out.jsonl}}}, audiences: {all: [all]}, "
              "messages: {told: {audience: all, text: hello}}}\npeople:\n")  # fmt: skip

    began = threading.Event()

    def heard(event: object) -> None:
        if getattr(event, "kind", "") == "message.queued" and not began.is_set():
            began.set()
            log(shop, "ERROR it is still bad")

    with shop.site(listen=heard) as site:
        run = ended(shop, site)
        assert began.is_set()
        assert run.state is State.NEEDS_OPERATOR
        assert "ERROR it is still bad" in run.reason
        assert "the release was bad" not in run.reason


def test_what_was_held_is_known_to_prerequisites_and_metrics(shop: Shop) -> None:
    """A check of an append-only file answers outside a run, too; a shorter file is seen."""
    with shop.site() as site:
        plan = shop.plan(site, "config")
        assert starting.ask_now(site, plan.environment, "trail-whole").answer is Answer.PASS
        assert decide_now(site).samples[0].value == 1
        (shop.tree / "logs" / "trail.jsonl").write_text("")
        assert starting.ask_now(site, plan.environment, "trail-whole").answer is Answer.FAIL
        assert decide_now(site).samples[0].value == 0


def test_a_failed_verify_names_what_failed_and_nothing_else(shop: Shop) -> None:
    """Each check with its answer; no list of all that were asked, cut where it got too long."""
    with_step(shop, "{verify: {suite: smoke, on_fail: person}}")
    (shop.tree / "logs" / "trail.jsonl").write_text("")
    with shop.site() as site:
        run = ended(shop, site)
    assert run.reason.startswith(
        "step 2 verify-2 failed: suite smoke: check trail-whole answered FAIL, wanted pass: logs/trail.jsonl"
    )
    assert "app-valid" not in run.reason
