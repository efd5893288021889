"""The report of a run: what the journal knows, both clocks, and nothing that text could turn into."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback.act import authorize
from rollback.act.afterwards import settle, write_report
from rollback.act.engine import roll_back
from rollback.act.site import Site
from rollback.model.lifecycle import Run, State
from rollback.tell import report
from tests.systems import Shop, build


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop whose first run is COMPLETE and whose second one was denied."""
    made = build(tmp_path_factory.mktemp("shop"))
    with made.site() as site:
        site.checkpoints.create("before")
        (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
        run = authorize.create(site, made.plan(site, "config", reason="prices | <b>wrong</b> @all"))
        authorize.approve(site, run, person="ada", note="yes")
        assert settle(site, roll_back(site, run.id)).state is State.COMPLETE
        denied = authorize.create(site, made.plan(site, "flag"))
        authorize.approve(site, denied, person="ada", answer="no", note="why?")
        settle(site, roll_back(site, denied.id))
    return made


def built(site: Site, name: str) -> tuple[Run, dict[str, object]]:
    """A run and its report."""
    run = site.run(name)
    return run, report.build(site.system, run, site.journal.events())


def test_the_report_is_made_of_the_journal_alone(shop: Shop) -> None:
    """Built twice it is the same; JSON and Markdown say the same outcome; times add up."""
    with shop.site() as site:
        run, body = built(site, "r0001")
        assert body == built(site, "r0001")[1]
        assert json.loads(json.dumps(body)) == body
        assert body["state"] == run.state == "COMPLETE"
        mine = [event for event in site.journal.events() if event.run == "r0001"]
        assert [line["event"] for line in body["timeline"]] == [event.kind for event in mine]  # type: ignore[index, attr-defined]
        assert body["plan_digest"] == run.plan_digest
        clocks = body["clocks"]
        assert clocks["mitigated"]["took_s"] <= clocks["complete"]["took_s"]  # type: ignore[index]
        assert clocks["mitigated"]["budget_s"] == 60.0  # type: ignore[index]
        spent = sum(phase["took_s"] for phase in body["phases"])  # type: ignore[attr-defined]
        assert spent == pytest.approx(clocks["complete"]["took_s"], abs=0.01)  # type: ignore[index]


def test_the_markdown_says_what_was_proved_and_what_was_not(shop: Shop) -> None:
    """Checks by name, blind spots by name, who approved and how that is known."""
    with shop.site() as site:
        text = report.markdown(built(site, "r0001")[1])
    for said in ("COMPLETE", "smoke: open", "| limit-right | pass |", "What no check looked at",
                 "component pages", "yes by ada", "(unauthenticated)", "within budget",
                 "rollback undo r0001", "## Timeline"):  # fmt: skip
        assert said in text, said


def test_a_run_that_was_denied_has_a_report_too(shop: Shop) -> None:
    """No steps taken, no suite run, the reason in front."""
    with shop.site() as site:
        text = report.markdown(built(site, "r0002")[1])
    assert "ABANDONED" in text
    assert "> ada said no: why?" in text
    assert "not taken" in text
    assert "No suite was run" in text


def test_what_a_person_typed_cannot_become_markup_or_a_mention(shop: Shop) -> None:
    """A reason with a table cell, HTML and @all in it."""
    with shop.site() as site:
        text = report.markdown(built(site, "r0001")[1])
    assert "<b>" not in text
    assert "@all" not in text
    assert "prices \\|" in text


@settings(max_examples=150, deadline=None)
@given(st.text(min_size=1, max_size=60))
def test_no_text_breaks_out_of_its_place(typed: str) -> None:
    """No new line, no raw tag, no unescaped pipe, no control character."""
    for made in (report._text(typed), report._cell(typed)):
        assert made.isprintable() or "\u200b" in made
        assert "\n" not in made
        assert not re.search(r"(?<!\\)[|<>`]", made.replace("\\\\", ""))
        assert "\x1b" not in made


def test_a_cell_that_is_cut_is_not_cut_within_an_escape() -> None:
    """The last sign before the dots is never a lonely backslash."""
    for lead in range(150, 162):
        made = report._cell("a" * lead + "|" * 20)
        body = made.removesuffix("...")
        trailing = len(body) - len(body.rstrip("\\"))
        assert trailing % 2 == 0, made


@pytest.mark.parametrize(
    "cut", ["run.planned", "run.waiting", "run.authorized", "run.protected", "run.started",
            "step.began", "step.ended", "run.mitigated", "suite.ended"],
)  # fmt: skip
def test_at_every_moment_of_a_run_there_is_a_report(cut: str, shop: Shop) -> None:
    """Whatever has happened so far."""
    from rollback.model.lifecycle import fold

    with shop.site() as site:
        events = [event for event in site.journal.events() if event.run == "r0001"]
        kinds = [event.kind for event in events]
        if cut not in kinds:
            cut = "run.planned"
        part = events[: kinds.index(cut) + 1]
        run = fold(part)["r0001"]
        text = report.markdown(report.build(site.system, run, part))
        assert f"- {run.state}" in text


def test_writing_it_again_changes_nothing_but_itself(shop: Shop, tmp_path: Path) -> None:
    """The files in the run's folder are the report, private, whole."""
    with shop.site() as site:
        run = site.run("r0001")
        place = Path(write_report(site, run))
        first = place.read_bytes()
        write_report(site, run)
        assert place.read_bytes() == first
        assert place.stat().st_mode & 0o777 == 0o600
        assert json.loads((place.parent / "report.json").read_text())["run_id"] == "r0001"


def test_what_a_killed_writer_of_the_report_left_is_gone_with_the_next(shop: Shop) -> None:
    """Its temporary file; the run has ended, so no driver comes by to take it away."""
    with shop.site() as site:
        run = site.run("r0001")
        folder = site.run_folder(run.id)
        (folder / ".rollback-tmp-0123456789abcdef").write_text('{"half')
        write_report(site, run)
        assert [path.name for path in folder.iterdir() if "-tmp-" in path.name] == []
        assert json.loads((folder / "report.json").read_text())["run_id"] == "r0001"


@pytest.mark.requirement("PM-87")
def test_the_report_names_the_declared_version_and_its_date(shop: Shop) -> None:
    """By the declaration that the run was planned under, whatever is written there by now."""
    with shop.site() as site:
        write_report(site, site.run("r0001"))
        folder = site.run_folder("r0001")
        assert "Shop, version **1.0.0** of 2026-11-20." in (folder / "report.md").read_text()
        body = json.loads((folder / "report.json").read_text())
        assert (body["system_version"], body["system_date"]) == ("1.0.0", "2026-11-20")
    shop.edit("version: 1.0.0, date: 2026-11-20", "version: 2.0.0, date: 2026-11-21")
    try:
        with shop.site() as site:
            write_report(site, site.run("r0001"))
            assert "version **1.0.0** of 2026-11-20" in (folder / "report.md").read_text()
    finally:
        shop.edit("version: 2.0.0, date: 2026-11-21", "version: 1.0.0, date: 2026-11-20")


def test_durations_read_as_an_operator_says_them(shop: Shop) -> None:
    """A budget of a minute is 1 min, not 60.00 s."""
    with shop.site() as site:
        text = report.markdown(built(site, "r0001")[1])
    assert "| 1 min | within budget |" in text
    assert "| 5 min | within budget |" in text


def test_what_is_asked_by_port_or_by_its_service_was_looked_at(tmp_path: Path) -> None:
    """A question to a service's port asks the service and what it runs on; the rest stays named."""
    made = build(tmp_path)
    made.edit(
        "flags:\n",
        """services:
  web: {argv: [/bin/true], lock: web.lock, ports: [8731], components: [pages]}
  mail: {argv: [/bin/true], lock: mail.lock, ports: [8732]}
flags:
""",
    )
    made.edit("    - config: {id: app-valid, file: config/app.yaml, keys: [party]}\n",
              '    - http: {id: answers, url: "http://127.0.0.1:8731/health", '
              "status: 200, within: 1s}\n")  # fmt: skip
    with made.site() as site:
        run = authorize.create(site, made.plan(site, "flag"))
        authorize.approve(site, run, person="ada")
        run = settle(site, roll_back(site, run.id))
        body = built(site, run.id)[1]
    assert body["not_looked_at"] == ["component config", "service mail", "flag party"]
