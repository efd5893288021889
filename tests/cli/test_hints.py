"""What is told to type next can be typed: no hint names what is refused, or does the opposite."""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pygit2
import pytest

from rollback.act import authorize
from rollback.act.engine import advance
from rollback.act.site import Site
from rollback.act.stopping import abort
from rollback.model.errors import PlanError
from rollback.model.lifecycle import Run, State
from tests.cli.program import Ended, plainly, rollback
from tests.systems import Shop, build


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A shop with one checkpoint, changed since; ada may do everything alone."""
    made = build(tmp_path / "shop")
    made.edit("{roles: [lead, chief], quorum: all}", "{roles: [op], alone: true}")
    made.edit("{roles: [lead], count: 2}", "{roles: [op], alone: true}")
    with made.site() as site:
        site.checkpoints.create("before-release")
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    return made


def hinted(done: Ended) -> list[list[str]]:
    """The commands of ours that were named, as words."""
    said = [
        line.split("try: ")[1] for line in (done.out + done.err).splitlines() if "try: " in line
    ]
    found = [re.findall(r"rollback [a-z][^;,]*", line) for line in said]
    return [shlex.split(one)[1:] for line in found for one in line]


def test_a_failed_guard_offers_only_what_it_takes(shop: Shop) -> None:
    """It is never run again by itself, so nobody is told to let it be tried again; status agrees."""
    command = ["guard", "--as", "ada", "--yes", "--", sys.executable, "-c", "raise SystemExit(7)"]
    done = rollback(shop.folder, *command)
    assert done.status == 7
    for said in (done, rollback(shop.folder, "status")):
        assert "tried again" not in said.out
        assert hinted(said) == [
            ["undo", "r0001"], ["abort", "r0001", "--as-it-is"], ["report", "r0001"],
        ]  # fmt: skip
    for words in hinted(done)[::-1][:2]:
        assert (
            rollback(shop.folder, *words, *(["--as", "ada"] if "abort" in words else [])).status
            == 0
        )


def test_a_run_that_takes_back_is_not_offered_to_be_taken_back(shop: Shop) -> None:
    """That would do again what it had taken back; it is resumed, or left as it is."""
    assert rollback(shop.folder, "run", "config", "--as", "ada", "--yes").status == 0
    with shop.site() as site:
        undo = stopped_undo(shop, site)
    done = rollback(shop.folder, "status")
    assert ["undo", undo.id] not in hinted(done), done.out
    assert ["abort", undo.id, "--as-it-is"] in hinted(done)
    assert "rollback undo" not in rollback(shop.folder, "report", undo.id).out


def stopped_undo(shop: Shop, site: Site) -> Run:
    """A run that takes r0001 back, stopped for a person with a step done."""
    from rollback.act.back import undo_plan

    plan = undo_plan(site, site.run("r0001"), run="r0002", requester="ada", reason="")
    run = authorize.create(site, plan)
    authorize.approve(site, run, person="ada")
    run = site.run(run.id)
    while not any(one.status == "ended" for one in run.steps.values()):
        run = advance(site, run)
    return site.note(run, "run.needs-operator", reason="somebody pulled the plug")


@pytest.mark.long
def test_a_run_between_its_steps_and_its_gate_is_told_to_ask_the_gate(shop: Shop) -> None:
    """Nothing to stop, nothing to leave as it is, not ended yet: every hint of the chain is taken."""
    with shop.site() as site:
        run = authorize.create(site, shop.plan(site, "config"))
        authorize.approve(site, run, person="ada")
        run = site.run(run.id)
        while run.state is not State.MITIGATED:
            run = advance(site, run)
        for as_it_is in (False, True):
            with pytest.raises(PlanError) as refused:
                abort(site, run, by="ada", reason="", as_it_is=as_it_is)
            assert "--as-it-is" not in refused.value.hint
            assert "rollback abort" not in refused.value.hint
    for words in (["abort", "r0001", "--as", "ada"], ["undo", "r0001", "--as", "ada", "--yes"]):
        done = rollback(shop.folder, *words)
        assert done.status == 3
        assert hinted(done)[0] == ["resume", "r0001"], done.err
    assert rollback(shop.folder, "resume", "r0001").status == 0
    assert rollback(shop.folder, "undo", "r0001", "--as", "ada", "--yes").status == 0


@pytest.mark.parametrize("how", ["denied", "undone", "back"])
def test_an_ended_run_that_did_nothing_is_not_offered_to_be_undone(shop: Shop, how: str) -> None:
    """Who gives up what has ended is sent to the report, or to what can be taken back."""
    if how == "denied":
        with shop.site() as site:
            run = authorize.create(site, shop.plan(site, "config"))
            site.note(run, "run.abandoned", reason="no")
    else:
        assert rollback(shop.folder, "run", "config", "--as", "ada", "--yes").status == 0
        assert rollback(shop.folder, "undo", "--as", "ada", "--yes").status == 0
    run_id = "r0002" if how == "back" else "r0001"
    done = rollback(shop.folder, "abort", run_id, "--as", "ada")
    assert done.status == 3
    wanted = ["undo", "r0001"] if how == "undone" else ["report", run_id]
    assert hinted(done) == [wanted]


def test_at_a_gate_that_stays_closed_what_is_down_is_started_first(shop: Shop) -> None:
    """Before the level that would lose work; then the gate is asked again, and opens."""
    shop.edit("people:\n", "services:\n  app: {manager: registry, argv: [sleep, '600'], lock: run/app.lock, "
              "components: [config]}\npeople:\n")  # fmt: skip
    shop.edit("  smoke:\n", "  smoke:\n    - process: {id: app-runs, services: [app]}\n")
    done = rollback(shop.folder, "run", "flag", "--as", "ada", "--yes")
    assert done.status == 9
    for said in (done, rollback(shop.folder, "status")):
        lines = [line.strip() for line in said.out.splitlines()]
        first = lines.index("not running: app")
        assert lines[first + 1] == "try first: rollback run start"
        assert lines[first + 2].startswith("the smallest level that covers what fails: ")
    try:
        started = rollback(shop.folder, "run", "start", "--as", "ada", "--yes")
        assert started.status == 0
        (took,) = [line for line in started.out.splitlines() if "mitigated" in line]
        assert "of" not in took.split(), "a time without a budget is not of anything"
        assert took == took.rstrip()
        assert rollback(shop.folder, "resume", "r0001", "--as", "ada").status == 0
    finally:
        rollback(shop.folder, "run", "stop", "--as", "ada", "--yes")


def test_a_plan_counts_only_what_there_is(shop: Shop) -> None:
    """One file changes; that nothing else comes, goes or gets another mode is not said."""
    said = rollback(shop.folder, "plan", "config").out
    line = next(one for one in said.splitlines() if "1 change" in one)
    assert not re.search(r"\b0 ", line), line


def test_why_a_run_stopped_is_said_once(shop: Shop) -> None:
    """While it runs the state, at its end the reasons: nobody reads a long line twice."""
    (shop.tree / "config" / "app.yaml").write_text("limit: 3\n")
    done = rollback(shop.folder, "run", "flag", "--as", "ada", "--yes")
    assert done.status == 9
    assert done.err.splitlines()[-1].endswith("NEEDS_OPERATOR")
    reason = rollback(shop.folder, "--json", "status").json["runs_open"][0]["reason"]
    assert (done.out + done.err).count(reason) == 1


@pytest.mark.parametrize(
    ("typed_to", "meant"),
    [
        ("before-release", "did you mean checkpoint:before-release?"),
        ("befor-release", "did you mean checkpoint:before-release?"),
        ("checkpont:before-release", "did you mean checkpoint:before-release?"),
        ("last-god", "did you mean last-good?"),
        ("v1.0", "did you mean git:v1.0?"),
        ("nothing-like-it", "write --to checkpoint:ID"),
    ],
)
def test_a_target_without_its_source_is_told_how_it_is_written(
    shop: Shop, typed_to: str, meant: str
) -> None:
    """A checkpoint, a tag or a word, as it stands there or nearly; what is like nothing, all the ways."""
    shop.edit("components:\n", "repository: {path: .}\ncomponents:\n")
    made = pygit2.init_repository(str(shop.tree))
    who = pygit2.Signature("A", "a@example.org", 1_700_000_000, 0)
    commit = made.create_commit("HEAD", who, who, "first", made.TreeBuilder().write(), [])
    made.references.create("refs/tags/v1.0", commit)
    done = rollback(shop.folder, "plan", "config", "--to", typed_to)
    assert done.status == 3
    assert f"  try: {meant}" in done.err


def test_what_was_meant_by_a_target_can_be_typed(shop: Shop) -> None:
    """The hint is the word that the program takes."""
    done = rollback(shop.folder, "plan", "config", "--to", "before-release", "--json")
    meant = done.json["error"]["hint"].removeprefix("did you mean ").rstrip("?")
    assert rollback(shop.folder, "plan", "config", "--to", meant).status == 0


def test_an_event_is_told_what_it_is_near_to_or_how_it_is_declared(shop: Shop) -> None:
    """Both ways an operator can go on."""
    done = rollback(shop.folder, "event", "deploy")
    assert (done.status, "events: {deploy: {title: …}}" in done.err) == (3, True), done.err
    shop.edit("people:\n", "events: {deployment: {title: A release}}\npeople:\n")
    done = rollback(shop.folder, "event", "deploy")
    assert (done.status, "did you mean deployment?" in done.err) == (3, True), done.err


def test_a_misspelt_suite_is_told_the_nearest_one(shop: Shop) -> None:
    """In one line, as a declared misuse."""
    done = rollback(shop.folder, "verify", "smok")
    assert done.status == 2
    assert "did you mean smoke?" in done.err


@pytest.mark.long
def test_an_answer_without_words_is_told_what_is_asked(shop: Shop) -> None:
    """Item by item, with what to type; where nothing is asked, that."""
    assert rollback(shop.folder, "run", "flag", "--as", "ada", "--yes").status == 0
    done = rollback(shop.folder, "answer", "r0001")
    assert (done.status, "asks nothing of a person" in done.err) == (2, True), done.err
    shop.edit("    gate: {suites: [smoke]}\n  config:", "    gate: {suites: [smoke]}\n"
              "    checklist: [{id: seen, item: Somebody looked, attest: op, gates: complete}]\n"
              "  config:")  # fmt: skip
    assert rollback(shop.folder, "trust", "--as", "ada", "--yes").status == 0
    (shop.tree / ".env").write_text("PARTY=true\n")
    assert rollback(shop.folder, "run", "flag", "--as", "ada", "--yes").status == 9
    for words in (["answer"], ["answer", "r0002"]):
        done = rollback(shop.folder, *words)
        assert done.status == 2
        assert "run r0002 asks: seen (Somebody looked)" in done.err
        assert hinted(done) == [["answer", "r0002", "seen", "TEXT"]]
    done = rollback(shop.folder, "answer", "r0002", "seen")
    assert (done.status, "seen of run r0002 has no answer yet" in done.err) == (2, True)
    for word in (["yes", "--as", "ada"], []):
        done = rollback(shop.folder, "answer", "r0002", "sen", *word)
        assert (done.status, "did you mean seen?" in done.err) == (3, True)


@pytest.mark.parametrize("gates", ["start", "complete"])
def test_a_run_that_an_item_of_its_checklist_holds_up_says_how_that_is_settled(
    shop: Shop, gates: str
) -> None:
    """`run` and `status` name the answer as it is typed; said, it is no reason any more; then it goes on."""
    shop.edit("    gate: {suites: [smoke]}\n  pages:", "    gate: {suites: [smoke]}\n"
              f"    checklist: [{{id: seen, item: Somebody looked, attest: chief, gates: {gates}}}]\n"
              "  pages:")  # fmt: skip
    done = rollback(shop.folder, "run", "config", "--as", "ada", "--yes")
    assert done.status == (4 if gates == "start" else 9)
    say = ["answer", "r0001", "seen", "yes", "--as", "cyd"]
    for told in (done, rollback(shop.folder, "status")):
        assert hinted(told)[:2] == [say, ["resume", "r0001"]], told.out
        assert "Somebody looked" in told.out
    assert rollback(shop.folder, *say).status == 0
    told = rollback(shop.folder, "status")
    assert "not said yet" not in told.out
    assert say not in hinted(told)
    assert ["resume", "r0001"] in hinted(told)
    now = "is settled" if gates == "start" else "has been said"
    assert f"{now} since" in told.out
    assert "answer" not in told.out
    (body,) = rollback(shop.folder, "--json", "status").json["runs_open"]
    assert "not said yet" not in str(body)
    assert "rollback answer" not in str(body)
    assert rollback(shop.folder, "resume", "r0001", "--as", "ada").status == 0


@pytest.mark.long
@pytest.mark.parametrize(
    ("inner", "mode"),
    [("", 0), ("journal", 0), ("journal/events.jsonl", 0o400), ("store/packs", 0o500)],
)
def test_who_may_not_write_is_told_whose_it_is(shop: Shop, inner: str, mode: int) -> None:
    """Owner and mode of what is closed, and what to type; room is not the trouble."""
    assert rollback(shop.folder, "run", "flag", "--as", "ada", "--yes").status == 0
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 7\n")
    closed = shop.folder / ".rollback" / inner
    before = closed.stat().st_mode
    closed.chmod(mode)
    told = f"{closed} is {stat.filemode(closed.stat().st_mode)} of "
    try:
        done = plainly(shop.folder, "checkpoint", "create", "second")
    finally:
        closed.chmod(before)
    assert done.status == 8, done
    assert "make room" not in done.err
    assert told in done.err
    assert f"(uid {os.geteuid()}), which is this user: chmod u+rwX {closed}" in done.err


@pytest.mark.long
def test_runs_are_listed_newest_first(shop: Shop) -> None:
    """For people; a program reads them in the order in which they were."""
    for party in ("true", "true"):
        (shop.tree / ".env").write_text(f"PARTY={party}\n")
        assert rollback(shop.folder, "run", "flag", "--as", "ada", "--yes").status == 0
    listed = rollback(shop.folder, "history").out.splitlines()[1:]
    assert [line.split()[0] for line in listed] == ["r0002", "r0001"]
    assert "the newest first: r0002, r0001 (" in rollback(shop.folder, "report", "last-one").err
    told = rollback(shop.folder, "history", "--json").json["runs"]
    assert [one["run_id"] for one in told] == ["r0001", "r0002"]


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("run", 2, "rollback ready"),
        ("plan", 2, "rollback ready"),
        ("checkpoint show", 2, "rollback checkpoint list"),
        ("plan pages config", 2, "write it after --to or --component"),
        ("run config last-good", 2, "write it after --to or --component"),
        ("checkpoint restore before-release config", 2, "write it after --component"),
        ("plan config config config", 2, "write it after"),
        ("checkpoint create", 0, ""),
        ("what-if nope.csv", 2, "nope.csv cannot be read as a table: No such file or directory"),
        ("--state /nowhere/x status", 0, "mkdir -p /nowhere"),
    ],
)
def test_a_word_too_few_or_too_many_is_told_how_it_is_written(
    shop: Shop, line: str, status: int, said: str
) -> None:
    """What names what is missing, or the option that the word belongs to."""
    done = rollback(shop.folder, *line.split())
    assert done.status == status, done
    assert said in done.out + done.err
    assert "Errno" not in done.out + done.err


def test_a_component_in_the_place_of_a_level_is_told_so(shop: Shop) -> None:
    """With the level that works on one; the hint can be typed."""
    shop.edit("  pages: {path: pages, content: files}", "  html: {path: pages, content: files}")
    shop.edit("restore: {component: pages}", "restore: {component: html}")
    done = rollback(shop.folder, "run", "html", "--as", "ada")
    assert done.status == 3
    assert "html is no level but a component" in done.err
    assert hinted(done) == [["plan", "pages", "--component", "html"]]


def test_a_checkpoint_without_a_name_is_said_once(shop: Shop) -> None:
    """By its id."""
    said = rollback(shop.folder, "checkpoint", "create").out
    assert re.match(r"checkpoint [0-9a-f]{12}: 2 components", said), said


def test_what_could_not_be_captured_is_named(shop: Shop) -> None:
    """By the checkpoint that is PARTIAL for it, and by the run that could not keep the present."""
    closed = shop.tree / "config" / "closed.txt"
    closed.write_text("x\n")
    closed.chmod(0)
    for words in (["checkpoint", "create", "second"], ["run", "config", "--as", "ada", "--yes"]):
        done = plainly(shop.folder, *words)
        assert done.status in (6, 8)
        assert "config: closed.txt: " in done.out + done.err, done


def test_a_folder_that_is_gone_is_said_to_be(shop: Shop) -> None:
    """Whoever stands in it has typed nothing wrong but the place."""
    gone = shop.folder / "gone"
    gone.mkdir()
    code = "import os, sys; os.rmdir(os.getcwd()); from rollback.cli import main; main()"
    for words in (["status"], ["init"], ["validate"]):
        gone.mkdir(exist_ok=True)
        done = subprocess.run([sys.executable, "-c", code, *words], cwd=gone, text=True,
                              capture_output=True, check=False, stdin=subprocess.DEVNULL)  # fmt: skip
        assert (done.returncode, "the folder that you are in is not there any more" in done.stderr) == (
            2, True), done  # fmt: skip


def test_a_yes_that_nobody_asks_for_ends_a_run_all_the_same(shop: Shop) -> None:
    """Whoever is used to type it is not kept from giving up; elsewhere it is said to leave it out."""
    with shop.site() as site:
        run = authorize.create(site, shop.plan(site, "config"))
    other = rollback(shop.folder, "approve", run.id, "--as", "ada", "--yes")
    assert other.status == 2
    assert "  try: nothing is asked here: type it again without --yes" in other.err
    assert rollback(shop.folder, "abort", run.id, "--as", "ada", "--yes").status == 0
    with shop.site() as site:
        assert site.run(run.id).state is State.ABANDONED


def test_an_undo_is_not_asked_what_its_level_asks(shop: Shop) -> None:
    """The checklist is of the run that went back; what is open is found in status."""
    shop.edit(
        "steps: [{restore: {component: config}}]\n",
        "steps: [{restore: {component: config}}]\n"
        "    checklist: [{id: learnt, item: Written down, attest: op, gates: closing}]\n",
    )
    assert rollback(shop.folder, "run", "config", "--yes", "--as", "ada").status == 0
    assert "run r0001 asks: learnt (Written down)" in rollback(shop.folder, "answer").err
    assert rollback(shop.folder, "undo", "--yes", "--as", "ada").status == 0
    done = rollback(shop.folder, "answer")
    assert (done.status, "r0002 asks nothing of a person" in done.err) == (2, True), done.err
    assert "try: rollback status says what is open" in done.err
    assert "rollback answer r0001 learnt yes" in rollback(shop.folder, "status").out
