"""What an operator reads: which way a difference goes, what to type next, and that it can be typed."""

from __future__ import annotations

import os
import pwd
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from rollback.act import authorize
from rollback.act.engine import roll_back
from rollback.keep.lease import Lease
from rollback.model.lifecycle import State
from tests.cli.program import Ended, plainly, rollback
from tests.systems import Shop, build, environment, walk


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with one checkpoint, changed since: one file each added, removed and edited."""
    made = build(tmp_path / "shop")
    (made.tree / "pages" / "old.html").write_text("old\n")
    with made.site() as site:
        site.checkpoints.create("before-release")
    (made.tree / "pages" / "old.html").unlink()
    (made.tree / "pages" / "new.html").write_text("new\n")
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    return made


# -- a difference --------------------------------------------------------------------------


def test_a_difference_says_from_where_to_where(shop: Shop) -> None:
    """What came is added, what went is removed; in words, in signs and as JSON."""
    said = rollback(shop.folder, "checkpoint", "diff", "before-release").out
    first, *lines = said.splitlines()
    assert first.startswith("from before-release to the present: ")
    assert {"- removed 1", "+ added 1", "~ changed 1"} <= set(first.split(": ")[1].split(", "))
    signs = {
        line.split()[2]: line.split()[0] for line in lines if ".html" in line or ".yaml" in line
    }
    assert signs == {"pages/new.html": "+", "pages/old.html": "-", "config/app.yaml": "~"}
    body = rollback(shop.folder, "--json", "checkpoint", "diff", "before-release").json
    what = {one["path"]: one["what"] for one in body["changes"]}
    assert (what["pages/new.html"], what["pages/old.html"]) == ("added", "removed")
    assert body["to"] == "present"


# -- who only looks ------------------------------------------------------------------------

LOOKS = (
    "status",
    "history",
    "checkpoint list",
    "decide",
    "verify",
    "plan flag",
    "checkpoint verify",
)


@pytest.mark.parametrize("line", LOOKS)
def test_who_looks_needs_no_folder_to_write_in_and_makes_none(tmp_path: Path, line: str) -> None:
    """In a fresh folder that may not be written, and in one that may: nothing comes into being."""
    made = build(tmp_path / "shop")
    before = walk(made.folder)
    made.folder.chmod(0o555)
    try:
        done = plainly(made.folder, *line.split())
    finally:
        made.folder.chmod(0o755)
    assert (done.status, done.err) == (0, "")
    assert rollback(made.folder, *line.split()).status == 0
    assert walk(made.folder) == before


@pytest.mark.long
@pytest.mark.parametrize(
    "line", [*LOOKS, "plan config", "checkpoint diff before-release", "report"]
)
def test_what_is_kept_can_be_read_where_it_may_not_be_written(shop: Shop, line: str) -> None:
    """Everything in the state directory is read-only: whoever looks sees it all the same."""
    with shop.site() as site:
        roll_back(site, authorize.create(site, shop.plan(site, "flag")).id)
    kept = shop.folder / ".rollback"
    everything = [kept, *kept.rglob("*")]
    for path in everything:
        path.chmod(path.stat().st_mode & ~0o222)
    before = walk(kept)
    try:
        done = plainly(shop.folder, *line.split())
    finally:
        after = walk(kept)
        for path in everything:
            path.chmod(path.stat().st_mode | 0o200)
    assert (done.status, done.err) == (0, ""), done
    assert after == before


# -- what may not be written ---------------------------------------------------------------


def test_what_may_not_be_written_is_named_as_text_with_what_to_type(shop: Shop) -> None:
    """A component, the state directory, its folder: one line each, no number, no bytes."""
    places = {
        "run config --as ada --yes": (shop.tree / "config", 6),
        "checkpoint create another": (shop.folder / ".rollback" / "store", 8),
        "decide": (shop.folder / ".rollback" / "journal" / "events.jsonl", 8),
    }
    for line, (place, status) in places.items():
        mode = place.stat().st_mode
        place.chmod(0o500 if place.is_dir() else 0o400)
        if line.startswith("checkpoint"):
            (place / "lock").chmod(0o400)
        try:
            done = plainly(shop.folder, *line.split())
        finally:
            place.chmod(mode)
            (shop.folder / ".rollback" / "store" / "lock").chmod(0o600)
        said = done.out + done.err
        assert done.status == status, said
        assert str(place) in said
        assert "Permission denied" in said
        assert "Errno" not in said
        assert "b'" not in said


def test_a_state_directory_that_cannot_be_made_says_where_and_what_to_type(tmp_path: Path) -> None:
    """Named once, with another place to choose."""
    made = build(tmp_path / "shop")
    made.folder.chmod(0o555)
    whose = f"{pwd.getpwuid(os.geteuid()).pw_name} (uid {os.geteuid()})"
    try:
        done = plainly(made.folder, "checkpoint", "create", "first")
    finally:
        made.folder.chmod(0o755)
    assert done.status == 8
    assert done.err.splitlines() == [
        f"rollback: {made.folder}/.rollback: the state directory cannot be made: Permission denied",
        f"  try: {made.folder} is dr-xr-xr-x of {whose}, which is this user: chmod u+rwX {made.folder}; "
        "or choose another place with --state DIR",
    ]


def test_doctor_sees_what_may_not_be_written(shop: Shop) -> None:
    """The root, a component and a place: each fails by name."""
    place = shop.folder / "exchange"
    place.mkdir()
    shop.edit("people:\n", "places:\n  out: {path: exchange, may: [write]}\npeople:\n")
    for what, path in (
        ("root", shop.tree),
        ("component pages", shop.tree / "pages"),
        ("place out", place),
    ):
        path.chmod(0o555)
        try:
            done = plainly(shop.folder, "--json", "doctor")
        finally:
            path.chmod(0o755)
        failed = [one for one in done.json["findings"] if one["answer"] == "fail" and one["needed"]]
        assert [one["what"] for one in failed] == [f"write {what}"]
        assert str(path) in failed[0]["evidence"]
        assert done.status == 7


def in_mounts(shop: Shop, mounts: str, line: str) -> Ended:
    """The program where these mounts hold; they end with it."""
    argv = [sys.executable, "-m", "rollback", *line.split()]
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", f"{mounts} && cd . && {shlex.join(argv)}"],
        cwd=shop.folder, capture_output=True, text=True, env=environment(), timeout=120, check=False,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)


def test_doctor_sees_a_read_only_mount(shop: Shop) -> None:
    """Whoever asks: not even root can write there."""
    done = in_mounts(
        shop, "mount --bind tree tree && mount -o remount,ro,bind tree", "--json doctor"
    )
    rows = {one["what"]: one for one in done.json["findings"]}
    assert rows["write root"]["answer"] == "fail"
    assert "read-only mount" in rows["write root"]["evidence"]
    assert rows["write state"]["answer"] == "pass"


@pytest.mark.parametrize("line", ["run pages --component pages --as ada --yes", "checkpoint create another",
                                  "checkpoint diff before-release"])  # fmt: skip
def test_a_mount_inside_a_component_is_refused_before_anything_is_done(
    shop: Shop, line: str
) -> None:
    """With the status of a refusal, the path and what to do; no run has begun."""
    (shop.tree / "pages" / "in").mkdir()
    done = in_mounts(shop, "mount -t tmpfs tmpfs tree/pages/in", line)
    assert done.status == 4, done
    first, hint = done.err.splitlines()
    assert first == f"rollback: {shop.tree}/pages/in: another mount is in the way"
    assert "exclude:" in hint
    assert rollback(shop.folder, "--json", "history").json == {"runs": []}


# -- what to type next ---------------------------------------------------------------------


def test_a_failed_step_says_resume_or_undo_and_resume_tries_it_again(shop: Shop) -> None:
    """No gate was reached, so nobody is sent to one; what was put right goes through."""
    shop.edit("steps: [{flag: {flag: party, set: false, within: 3s}}]",
              "steps: [{flag: {flag: party, set: false, within: 3s}}, "
              "{command: {argv: [test, -e, ready], cwd: pages, "
              "on_fail: {otherwise: person}}}]")  # fmt: skip
    done = rollback(shop.folder, "run", "flag", "--as", "ada", "--yes")
    assert done.status == 9
    assert "gate" not in done.out
    assert "let step 2 be tried again: rollback resume r0001" in done.out
    assert "or take back what it did: rollback undo r0001" in done.out
    assert "let step 2 be tried again: rollback resume r0001" in rollback(shop.folder, "status").out
    (shop.tree / "pages" / "ready").write_text("")
    assert rollback(shop.folder, "resume", "--as", "ada").status == 0


def test_a_step_whose_alternative_did_it_is_not_tried_again(shop: Shop) -> None:
    """Only what nothing stood in for is tried, when a person sends the run on."""
    shop.edit("steps: [{flag: {flag: party, set: false, within: 3s}}]",
              "steps: [{command: {argv: [test, -e, nothing], cwd: pages, on_fail: {then: "
              "[{flag: {flag: party, set: false, within: 3s}}]}}}, "
              "{command: {argv: [test, -e, ready], cwd: pages, on_fail: {otherwise: person}}}]")  # fmt: skip
    assert rollback(shop.folder, "run", "flag", "--as", "ada", "--yes").status == 9
    (shop.tree / "pages" / "ready").write_text("")
    assert rollback(shop.folder, "resume", "--as", "ada").status == 0
    began = [one["data"]["index"] for one in shop.lines() if one["kind"] == "step.began"]
    assert began == ["1", "1.1", "2", "2"]


def test_a_closed_gate_says_verify_then_resume(shop: Shop) -> None:
    """What is not well is looked at first; then the gate is asked again."""
    (shop.tree / "config" / "app.yaml").write_text("limit: 3\n")
    done = rollback(shop.folder, "run", "flag", "--as", "ada", "--yes")
    assert done.status == 9
    assert (
        "rollback verify; put it right, then ask the gate again: rollback resume r0001" in done.out
    )


@pytest.mark.parametrize(
    "how",
    ["state", *(pytest.param(one, marks=pytest.mark.long) for one in ("option", "environment"))],
)
def test_what_is_told_to_type_can_be_pasted_where_the_operator_is(shop: Shop, how: str) -> None:
    """Another declaration or state directory stands in every command that is printed."""
    here = shop.folder.parent
    file = shop.folder / "shop one.yaml"
    (shop.folder / "rollback.yaml").rename(file)
    given = ["--system", "shop/shop one.yaml"] if how != "environment" else []
    given += ["--state", str(here / "kept")] if how == "state" else []
    environ = {"ROLLBACK_SYSTEM": "shop/shop one.yaml"} if how == "environment" else {}
    said = []
    for line in ("status", "report", "run full --as dee --yes", "approve r0001 --as dee", "status"):
        done = rollback(here, *given, *line.split(), **environ)
        said += [one for one in (done.out + done.err).splitlines() if "try: " in one]
    wanted = "rollback --system 'shop/shop one.yaml'"
    wanted += f" --state {here}/kept" if how == "state" else ""
    commands = [one for one in said if "rollback" in one]
    assert len(commands) >= 4
    for one in commands:
        assert one.count("rollback ") == one.count(f"{wanted} "), one
    typed = shlex.split(f"{wanted} status")
    assert rollback(here, *typed[1:]).status == 0


def test_where_things_lie_as_usual_nothing_is_added(shop: Shop) -> None:
    """Named as it would be found anyway: the commands stay short."""
    done = rollback(shop.folder, "--system", "./rollback.yaml", "report")
    assert done.err.splitlines()[1] == "  try: begin one with: rollback run LEVEL"


def test_an_ended_run_takes_no_answer(shop: Shop) -> None:
    """Taking a run back ends MITIGATED; who approves or denies it afterwards is told, with 3."""
    assert rollback(shop.folder, "run", "flag", "--as", "ada", "--yes").status == 0
    assert rollback(shop.folder, "undo", "--as", "ada", "--yes").status == 0
    before = shop.journal.read_bytes()
    for word in ("approve", "deny"):
        done = rollback(shop.folder, word, "r0002", "--as", "ada")
        assert done.status == 3
        assert "run r0002 has ended: it is MITIGATED; nothing was changed" in done.err
    assert shop.journal.read_bytes() == before


def test_somebody_at_work_is_said_without_a_stray_dot(shop: Shop) -> None:
    """The place is a folder as people write it."""
    with shop.site() as site, Lease(site.state.tree, site.host, purpose="a test"):
        done = rollback(shop.folder, "run", "flag", "--as", "ada", "--yes")
    assert done.status == 5
    assert done.err.startswith(f"rollback: {shop.folder}/.rollback: process ")


@pytest.mark.long
@pytest.mark.parametrize("line", [
    "run pages --component pagse --as ada", "plan pages --component pagse",
    "checkpoint create x --component pagse",
    "checkpoint show before-release --component pagse", "checkpoint diff before-release --component pagse",
    "checkpoint restore before-release --component pagse --as ada",
])  # fmt: skip
def test_an_unknown_component_is_one_mistake_everywhere(shop: Shop, line: str) -> None:
    """Typed wrong: 2, with the nearest name."""
    done = rollback(shop.folder, *line.split())
    assert done.status == 2
    assert "there is no component" in done.err
    assert "pages" in done.err.splitlines()[1]


def test_no_run_yet_is_said_as_such(shop: Shop) -> None:
    """Nobody asked for a run called last."""
    done = rollback(shop.folder, "report")
    assert (done.status, done.err.splitlines()[0]) == (3, "rollback: there is no run yet")


def test_without_metrics_a_decision_says_so(shop: Shop) -> None:
    """No empty table, but what to declare."""
    said = rollback(shop.folder, "decide").out
    assert said.startswith("no metric is declared")
    assert "metrics:" in said
    assert "window" not in said


ERRORS = "metrics:\n  errors: {unit: count, source: {command: {argv: [/bin/echo, '1'], number: stdout}}}\n"
MANY = "triggers:\n  - {id: many, when: {metric: errors, above: 5}, respond: {roll_back: config}}\n"


def test_a_decision_where_no_rule_is_declared_says_so(shop: Shop) -> None:
    """That none holds would say that one was asked."""
    shop.edit("verification:", f"{ERRORS}verification:")
    said = rollback(shop.folder, "decide").out
    assert "no rule is declared, so nothing can be called for" in said
    assert "  declare: triggers:" in said
    assert "no trigger holds" not in said
    shop.edit("verification:", f"{MANY}verification:")
    said = rollback(shop.folder, "decide").out
    assert "no trigger holds" in said
    assert "declare:" not in said


def test_a_decision_that_is_kept_nowhere_says_so(tmp_path: Path) -> None:
    """In a fresh folder it leaves no trace; what is typed next makes the place for it."""
    made = build(tmp_path / "shop")
    made.edit("verification:", f"{ERRORS}{MANY}verification:")
    said = rollback(made.folder, "decide").out
    assert said.splitlines()[-2:] == [
        "this decision is in no journal: nothing was ever kept here",
        "  try: rollback checkpoint create NAME",
    ]
    assert rollback(made.folder, "checkpoint", "create", "first").status == 0
    assert "in no journal" not in rollback(made.folder, "decide").out


def test_without_a_reading_what_if_says_which_is_missing_and_what_to_type(tmp_path: Path) -> None:
    """No metric, no rule, nothing kept, nothing decided, nothing so late: each in a line, and its way out."""
    made = build(tmp_path / "shop")
    table = "or give a table: rollback what-if FILE.csv"

    def said(*argv: str) -> list[str]:
        ended = rollback(made.folder, "what-if", *argv)
        assert ended.status == 0
        return ended.out.splitlines()

    missing, declare = said()
    assert missing == "no metric is declared, so there is no reading to replay"
    assert declare.startswith("  declare: metrics: {NAME: {title, unit, source}}")
    made.edit("verification:", f"{ERRORS}verification:")
    assert said()[0] == "no rule is declared, so nothing can be called for"
    made.edit("verification:", f"{MANY}verification:")
    assert said() == [
        "nothing was ever kept here, so there is no reading to replay",
        f"  try: rollback checkpoint create NAME, then rollback decide; {table}",
    ]
    assert rollback(made.folder, "checkpoint", "create", "first").status == 0
    assert said() == [
        "the journal holds no reading to replay",
        f"  try: rollback decide; {table}",
    ]
    assert rollback(made.folder, "decide").status == 0
    assert said()[0].startswith("1 moment over 0 s")
    late = said("--since", "2100-01-01T00:00:00Z")
    assert late == [
        "the journal holds no reading since 2100-01-01T00:00:00Z",
        f"  try: an earlier --since; {table}",
    ]
    (made.folder / "past.csv").write_text("at,errors\n")
    assert said("past.csv")[0] == "past.csv holds no row to replay"
    made.edit("source: {command: {argv: [/bin/echo, '1'], number: stdout}}",
              "source: {prometheus: {url: 'http://127.0.0.1:1', query: up}}")  # fmt: skip
    assert "rollback what-if --prometheus" in said("--since", "2100-01-01T00:00:00Z")[1]


def test_one_thing_is_one_thing(shop: Shop) -> None:
    """Counts agree with their nouns."""
    one = rollback(shop.folder, "checkpoint", "create", "one", "--component", "pages").out
    two = rollback(shop.folder, "checkpoint", "create", "two").out
    assert ": 1 component," in one
    assert ": 2 components," in two


def test_the_help_of_a_drill_says_what_was_typed() -> None:
    """Whoever types `rollback drill` reads `rollback drill`."""
    done = subprocess.run(
        [sys.executable, "-m", "rollback", "drill", "--help"], cwd=Path(__file__).parents[2], text=True,
        capture_output=True, env=environment(), timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("Usage: rollback drill [OPTIONS] COMMAND")


@pytest.mark.long
def test_only_a_yes_settles_an_item_that_gates_the_start(shop: Shop) -> None:
    """No, or anything else, is noted and keeps the run waiting; the last word counts."""
    shop.edit("    steps: [{restore: {component: config}}]\n",
              "    checklist:\n      - {id: seen, item: Somebody saw it, attest: op, gates: start}\n"
              "    steps: [{restore: {component: config}}]\n")  # fmt: skip
    assert rollback(shop.folder, "run", "config", "--as", "ada", "--yes").status == 4
    for text in ("no", "yesterday it was well", "yes", "no, it is worse"):
        done = rollback(shop.folder, "--json", "answer", "r0001", "seen", text, "--as", "ada")
        assert (done.status, done.json["settled"]) == (0, text == "yes")
    assert rollback(shop.folder, "resume").status == 4
    assert (
        "stays open"
        in rollback(shop.folder, "answer", "r0001", "seen", "perhaps", "--as", "ada").out
    )
    assert (
        rollback(shop.folder, "answer", "r0001", "seen", "Done: by phone", "--as", "ada").status
        == 0
    )
    assert rollback(shop.folder, "resume").status == 0
    with shop.site() as site:
        assert site.run("r0001").state is State.COMPLETE


def test_a_bad_value_in_a_step_is_one_problem(shop: Shop) -> None:
    """The list that it stands in is not empty, and nobody says so."""
    shop.edit("within: 3s", "within: 3")
    done = rollback(shop.folder, "validate")
    (line,) = done.err.splitlines()
    assert "3 is not a duration" in line
    assert os.path.basename(shop.folder) not in line


@pytest.mark.parametrize(
    "line",
    [
        "status", "report", *(pytest.param(line, marks=pytest.mark.long)
                              for line in ("history", "history r0001", "audit verify", "watch --once")),
    ],
)  # fmt: skip
def test_a_typo_in_the_declaration_hides_nothing_that_happened(shop: Shop, line: str) -> None:
    """It is said in one line, and what the state directory holds is told all the same."""
    assert rollback(shop.folder, "run", "flag", "--as", "ada", "--yes").status == 0
    well = rollback(shop.folder, *line.split())
    assert well.status == 0
    shop.edit("title: Settings back", "titel: Settings back")
    done = rollback(shop.folder, *line.split())
    assert (done.status, done.out) == (0, well.out)
    (said,) = [one for one in done.err.splitlines() if one not in well.err.splitlines()]
    assert said.startswith("rollback: rollback.yaml:")
    assert "levels.config.ti" in said
    assert said.endswith("try: rollback validate")
    assert rollback(shop.folder, "--json", *line.split()).json is not None


@pytest.mark.long
@pytest.mark.parametrize("line", ["run flag --as ada --yes", "resume", "verify", "plan flag"])
def test_what_acts_or_asks_needs_a_declaration_without_a_typo(shop: Shop, line: str) -> None:
    """What was kept is for looking back, never for going on."""
    assert rollback(shop.folder, "run", "flag", "--as", "ada", "--yes").status == 0
    shop.edit("title: Settings back", "titel: Settings back")
    before = walk(shop.folder)
    assert rollback(shop.folder, *line.split()).status == 2
    assert walk(shop.folder) == before


def test_what_was_kept_of_one_file_tells_nothing_about_another(shop: Shop) -> None:
    """A second declaration in the same folder, with a typo, is not answered for by the first."""
    assert rollback(shop.folder, "run", "flag", "--as", "ada", "--yes").status == 0
    other = shop.folder / "other.yaml"
    other.write_text(
        (shop.folder / "rollback.yaml").read_text().replace("title: Shop", "titel: Shop")
    )
    assert rollback(shop.folder, "--system", "other.yaml", "history").status == 2


def test_a_typo_before_anything_was_kept_is_a_typo(tmp_path: Path) -> None:
    """There is nothing to tell by."""
    made = build(tmp_path / "shop")
    made.edit("title: Settings back", "titel: Settings back")
    for word in ("history", "status", "report"):
        assert rollback(made.folder, word).status == 2
