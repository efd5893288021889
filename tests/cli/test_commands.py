"""The command line: what is typed wrong, what is closed, what two people do to one run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rollback import VERSION
from rollback.cli import group
from rollback.cli.group import cli
from tests.cli import program
from tests.cli.program import typed
from tests.systems import PEOPLE, Shop, build, environment, make_key, walk

COMMANDS = {
    "abort", "answer", "approval", "approve", "audit", "checkpoint", "decide", "demo", "deny",
    "doctor", "event", "guard", "history", "init", "plan", "report", "resume", "run", "status",
    "trust", "undo", "validate", "verify", "watch", "what-if",
}  # fmt: skip
LATER = {"ack", "monitor", "ready", "failure", "redeploy", "recover",
         "notify", "drill"}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop with one waiting run; nobody changes it here."""
    made = build(tmp_path_factory.mktemp("shop"))
    with made.site() as site:
        site.checkpoints.create("before-release")
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    assert typed(made.folder, "run", "full", "--as", "dee", "--yes").status == 4
    return made.folder


# -- what is typed wrong -------------------------------------------------------------------

LONG = "x" * 100_000
WRONG: list[tuple[int, str]] = [
    (2, ""), (2, "nothing"), (2, "runn flag"), (2, "--nothing"), (2, "--system"), (2, "--state"),
    (2, "--system /no/such/file status"), (2, "--system . status"), (2, "--system /dev/null status"),
    (2, "--system tree status"), (8, "--state /no/such/dir/at/all history"),
    (2, "--state tree/pages/index.html history"), (2, "-x"), (2, "status extra"), (2, "status --nothing"),
    (3, "event nothing"), (2, "what-if nothing.csv"), (2, "what-if --since soon"), (2, "event"),
    (3, "plan nothing"), (2, "plan ''"), (2, "plan -1"), (3, "plan 99"), (2, "plan"), (2, "plan flag extra"),
    (3, "plan config --to nothing"), (3, "plan config --to checkpoint:"), (2, "plan config --to"),
    (2, "plan config --to git:HEAD"), (2, "plan config --component x"), (3, "plan config --component pages"),
    (3, "plan pages"), (2, "plan pages --component x"), (3, "plan config --variant x"),
    (3, "plan config --environment moon"), (3, "plan later"), (2, f"plan {LONG}"), (3, "plan ../../etc"),
    (2, "run"), (3, "run nothing --as ada --yes"), (4, "run config --as nobody --yes"),
    (3, "run config --as ada --to x --yes"), (3, "run later --as ada --yes"), (2, "run config --wait=3"),
    (2, "approve r0001 r0002"), (3, "approve r9999 --as bo"), (4, "approve r0001 --as nobody"),
    (4, "approve r0001 --as dee"), (4, "approve r0001 --as bo --key /no/such/key"),
    (3, "deny r9999 --as bo"), (4, "deny r0001 --as dee"), (4, "deny r0001 --as x"),
    (2, "guard"), (2, "guard --as ada"), (4, "guard --as x -- true"), (2, "checkpoint history"),
    (3, "checkpoint history no/where"), (2, "checkpoint revoke before-release"), (2, "checkpoint due x"),
    (3, "checkpoint revoke r0 --reason x --as ada"), (2, "checkpoint create a --kind nothing"),
    (3, "resume r9999"), (3, "abort r9999 --as ada"), (4, "abort r0001 --as nobody"),
    (3, "undo r9999 --as ada"), (3, "undo r0001 --as ada"), (2, "answer r0001"), (2, "answer"),
    (3, "answer r9999 x y --as ada"), (3, "answer r0001 nothing yes --as ada"),
    (2, "verify nothing"), (3, "verify smoke --level nothing"), (3, "verify smoke --environment moon"),
    (2, "decide --fact"), (2, "decide --fact x"), (2, "decide --fact =x"), (2, "decide x"),
    (3, "history r9999"), (3, "report r9999"), (2, "report r0001 nothing"), (3, "watch r9999"),
    (2, "watch r0001 --for nan"), (2, "watch r0001 --for -1"), (2, "watch r0001 --for inf"),
    (2, "watch r0001 --for x"), (2, "audit"), (2, "audit nothing"), (2, "audit verify x"),
    (2, "approval"), (2, "approval export r0001"), (3, "approval export r9999 --as bo"),
    (4, "approval export r0001 --as nobody"), (2, "approval import"), (2, "approval import /no/such"),
    (2, "approval import rollback.yaml"), (2, "approval import tree"), (2, "checkpoint"),
    (2, "checkpoint nothing"), (2, "checkpoint create a b"), (2, "checkpoint create before-release"),
    (2, "checkpoint create ok --component x"), (3, "checkpoint show nothing"), (2, "checkpoint show"),
    (2, "checkpoint show before-release --component x"), (3, "checkpoint diff nothing"),
    (3, "checkpoint verify nothing"), (3, "checkpoint restore nothing --as ada"),
    (2, "checkpoint restore before-release --component x --as ada"),
    (3, "checkpoint delete nothing --as ada"),
    (2, "checkpoint delete before-release --as ada"), (4, "checkpoint delete before-release --as x --yes"),
    (2, "validate x"), (2, "validate --nothing"), (2, "trust x"), (2, "demo x"), (2, "init a b c"),
]  # fmt: skip


def _words(line: str) -> list[str]:
    return [word if word != "''" else "" for word in line.split(" ")] if line else []


# whose answer counts for nothing is told so, and that it was tried is in the journal
REFUSED_ALOUD = ("approve r0001 --as dee", "deny r0001 --as dee")


@pytest.mark.parametrize(("status", "line"), WRONG, ids=[f"{s} {line[:60]}" for s, line in WRONG])
def test_what_is_typed_wrong_ends_as_declared_and_changes_nothing(
    status: int, line: str, folder: Path
) -> None:
    """The declared status, what happened and what to type; with --json one document."""
    before = walk(folder)
    for as_json in (False, True):
        words = _words(line)
        if not words and not as_json:
            assert typed(folder).status in (0, 2)  # the help
            continue
        done = typed(folder, *(["--json"] if as_json else []), *words)
        assert done.status == status, (done.out, done.err)
        assert "Traceback" not in done.err + done.out
        if as_json:
            error = json.loads(done.out)["error"]
            assert set(error) >= {"kind", "message", "where", "hint", "exit_status"}
            assert error["exit_status"] == status
            assert error["hint"]
        else:
            lines = done.err.splitlines()
            assert len(lines) == 2 or "rollback.yaml" in done.err or ":1:" in done.err, lines
            assert "try: " in done.err or ": " in done.err
            assert not re.search(r"[\x00-\x08\x1b]", done.err)
    audited = ("append.lock", *(["events.jsonl"] if line in REFUSED_ALOUD else []))
    after = walk(folder)
    for found in (before, after):
        for name in [name for name in found if name.endswith(audited)]:
            del found[name]
    assert after == before
    if line in REFUSED_ALOUD:
        last = (folder / ".rollback" / "journal" / "events.jsonl").read_text().splitlines()[-2:]
        assert [json.loads(one)["kind"] for one in last] == ["approval.refused"] * 2


def test_the_table_is_long_enough() -> None:
    """Sixty rows at least, over every command that takes a word."""
    assert len(WRONG) >= 60
    used = {word for _, line in WRONG for word in line.split(" ")[:1]}
    assert COMMANDS - used <= {"doctor"}


def test_the_commands_are_those_that_are_built(folder: Path) -> None:
    """No more, no fewer; what comes later is not there yet, and says so like any unknown word."""
    listed = set(cli.list_commands(None))
    assert listed >= COMMANDS
    assert set(group.LATER) == LATER - listed
    for name in LATER - listed:
        done = typed(folder, name)
        assert done.status == 2
        assert f"there is no command {name} yet: it is designed, and not built" in done.err
        assert "did you mean" not in done.err


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself(name: str, folder: Path) -> None:
    """With -h and --help; one line in the list of all."""
    for flag in ("-h", "--help"):
        done = typed(folder, name, flag)
        assert done.status == 0
        assert "Usage: rollback" in done.out
        assert len(done.out.splitlines()) >= 4
    assert re.search(rf"^  {name}\s+\S", typed(folder, "--help").out, re.MULTILINE)


@pytest.mark.parametrize("name", ["approval", "audit", "checkpoint", "recover"])
def test_a_group_without_a_command_names_those_it_has(name: str, folder: Path) -> None:
    """One line and where to read more; the program's own name alone is its help."""
    done = typed(folder, name)
    first, second = done.err.splitlines()
    assert done.status == 2
    assert first.startswith(f"rollback: rollback {name} needs a command: ")
    assert ", ".join(sorted(cli.get_command(None, name).commands)) in first
    assert second == f"  try: rollback {name} --help"


def test_json_may_stand_anywhere_but_behind_two_dashes(folder: Path) -> None:
    """`rollback status --json` is what fingers type."""
    first, last = typed(folder, "--json", "status"), typed(folder, "status", "--json")
    assert json.loads(first.out) == json.loads(last.out)
    assert typed(folder, "plan", "--", "--json").status == 3


def test_what_holds_for_every_command_may_stand_behind_it(folder: Path) -> None:
    """`rollback status --system X` is what fingers type; a guarded command keeps its own words."""
    away = folder.parent
    file, state = str(folder / "rollback.yaml"), str(folder / ".rollback")
    wanted = typed(folder, "--json", "history").out
    for words in (["history", "--system", file], ["history", f"--system={file}"],
                  ["--system", file, "history"],
                  ["history", "--state", state, "--system", file]):  # fmt: skip
        assert typed(away, *words, "--json").out == wanted, words
    assert typed(away, "status", "--system").status == 2
    assert group._hoisted(["guard", "--", "x", "--system", "y"])[1][-4:] == [
        "--",
        "x",
        "--system",
        "y",
    ]
    assert group._hoisted(["guard", "x", "--json"]) == (False, ["guard", "x", "--json"])


@pytest.mark.parametrize("name", ["checkpoint", "recover", "approval", "audit"])
def test_what_a_group_lists_is_not_cut(name: str, folder: Path) -> None:
    """Each of its commands in words that fit their line."""
    said = typed(folder, name, "--help").out
    listed = said[said.index("Commands:") :].splitlines()[1:]
    assert listed
    assert not [line for line in listed if line.endswith("...")]


def test_the_version_is_told(folder: Path) -> None:
    """As in the project file."""
    said = typed(folder, "--version")
    assert (said.status, said.out) == (0, f"rollback {VERSION}\n")


def test_a_path_outside_the_root_is_told_how_to_write_it(folder: Path) -> None:
    """No mount and no link is in the way; an absolute path below the root is one below it."""
    for path in ("../x", "/etc/passwd", "a//b"):
        done = typed(folder, "checkpoint", "history", path)
        assert done.status == 4
        assert done.err.splitlines() == [
            f"rollback: {path}: this path does not lie below the root of the system",
            f"  try: write it as it lies below {folder}/tree, like config/app.yaml",
        ]
    absolute = typed(folder, "checkpoint", "history", f"{folder}/tree/pages/index.html")
    assert absolute.status == 0
    assert absolute.out == typed(folder, "checkpoint", "history", "pages/index.html").out


def test_nothing_is_started_where_no_service_is_declared(folder: Path) -> None:
    """It is no level that was misspelt."""
    for word in ("start", "stop"):
        done = typed(folder, "run", word, "--as", "ada", "--yes")
        assert done.status == 3
        said = f"rollback: no service is declared, so there is nothing to {word}"
        assert done.err.splitlines()[0] == said


def test_a_component_whose_path_is_not_there_is_said_by_validate(tmp_path: Path) -> None:
    """It may come with the next release, so it is no mistake; it may be one, so it is said."""
    made = build(tmp_path, keys={name: f"ssh-ed25519 {name}" for name in PEOPLE})
    assert "not there" not in typed(tmp_path, "validate").out
    made.edit("pages: {path: pages, content: files}", "pages: {path: pagse, content: files}")
    done = typed(tmp_path, "validate")
    assert done.status == 0
    assert done.out.splitlines()[-2:] == [
        "  1 warning:",
        "    rollback.yaml:8: components.pages.path: pagse is not there now; "
        "correct it, unless it comes later",
    ]


# -- as a process of its own ---------------------------------------------------------------


def start(folder: Path, *argv: str, **more: object) -> subprocess.CompletedProcess[bytes]:
    """The program as a child."""
    settings = {"env": environment(), "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE, "timeout": 60, "check": False}  # fmt: skip
    code = "from rollback.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *argv], cwd=folder, **{**settings, **more})  # type: ignore[call-overload, no-any-return]


def test_closed_streams_are_no_reason_for_a_traceback(folder: Path) -> None:
    """Each of the three, and all of them."""
    for closed in ((0,), (1,), (2,), (0, 1, 2)):
        code = (
            f"import os, sys\nfor fd in {closed}: os.close(fd)\n"
            "code = 'from rollback.cli import main; main()'\n"
            "os.execv(sys.executable, [sys.executable, '-c', code, 'status'])"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment(),
                              capture_output=True, timeout=60, check=False)  # fmt: skip
        assert done.returncode == 0, (closed, done.stderr)
        assert b"Traceback" not in done.stderr
        assert b"Exception" not in done.stderr


def test_a_reader_that_leaves_early_is_no_error(folder: Path) -> None:
    """`rollback history | head -0`; the exit status stays that of the outcome."""
    for status, words in (
        (0, ["history"]),
        (0, ["validate", "--schema"]),
        (4, ["--json", "resume"]),
    ):
        read, write = os.pipe()
        os.close(read)
        done = start(folder, *words, stdout=write)
        os.close(write)
        assert done.returncode == status, words
        assert b"Traceback" not in done.stderr
        assert b"Exception" not in done.stderr


def test_a_full_disk_behind_standard_output_is_one_line(folder: Path) -> None:
    """/dev/full takes nothing."""
    with open("/dev/full", "wb") as full:
        done = start(folder, "status", stdout=full)
    assert done.returncode == 8
    assert b"Traceback" not in done.stderr
    assert b"No space left" in done.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    "changed",
    [{"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
     {"PYTHONIOENCODING": "ascii"}, {"HOME": ""}, {"COLUMNS": "20", "TERM": "dumb"}, {"TZ": "Pacific/Apia"}],
    ids=["c", "ascii", "io", "no-home", "narrow", "tz"],
)  # fmt: skip
def test_strange_surroundings_change_no_outcome(changed: dict[str, str], folder: Path) -> None:
    """Locale, home, width, zone."""
    env = environment(**changed)
    if not changed.get("HOME", "x"):
        env = {k: v for k, v in env.items() if k not in ("HOME", "USER", "LOGNAME")}
    done = start(folder, "plan", "config", env=env)
    assert done.returncode == 0, done.stderr
    assert b"Settings back" in done.stdout
    assert start(folder, "run", "nothing", "--as", "ada", env=env).returncode == 3


def test_a_declaration_with_strange_names_prints_in_every_locale(tmp_path: Path) -> None:
    """Marks a terminal does not know are escaped; none of them stops a command."""
    shop = build(tmp_path)
    shop.edit("title: Settings back", 'title: "Zurück → ✓"')
    with shop.site() as site:
        site.checkpoints.create("before")
    (shop.tree / "config" / "app.yaml").write_text("party: false\nlimit: 3\n")
    done = start(tmp_path, "plan", "config", env=environment(PYTHONIOENCODING="ascii"))
    assert done.returncode == 0, done.stderr


def test_nothing_happened_yet_is_said_and_leaves_no_trace(tmp_path: Path) -> None:
    """Commands that look, in a fresh folder."""
    shop = build(tmp_path)
    before = walk(tmp_path)
    assert "nothing has happened yet" in typed(tmp_path, "status").out
    assert typed(tmp_path, "history").out == "no run yet\n"
    for words in (["report"], ["watch"]):
        done = typed(tmp_path, *words)
        assert (done.status, done.err.splitlines()[0]) == (3, "rollback: there is no run yet")
    for words in (["audit", "verify"], ["abort", "--as", "ada"]):
        done = typed(tmp_path, *words)
        assert done.status == 8
        assert "no state directory yet" in done.err
    assert walk(tmp_path) == before
    assert shop.tree.is_dir()


# -- two people, one run -------------------------------------------------------------------


@pytest.fixture
def signed_shop(tmp_path: Path) -> Shop:
    """The shop, whose people have keys in its folder."""
    keys = {name: make_key(tmp_path, name)[1] for name in ("ada", "bo", "cyd")}
    made = build(tmp_path / "shop", keys=keys)
    with made.site() as site:
        site.checkpoints.create("before-release")
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    return made


@pytest.mark.requirement("PM-17")
def test_an_approval_travels_as_a_file_and_is_signed_by_hand(
    signed_shop: Shop, tmp_path: Path
) -> None:
    """Exported, signed with ssh-keygen alone, brought back by another; the run goes on by itself."""
    folder = signed_shop.folder
    begun = typed(folder, "--json", "run", "full", "--as", "dee", "--yes")
    assert begun.status == 4
    assert json.loads(begun.out)["waiting_for"]["what"] == "approval by lead and chief"
    for person in ("bo", "cyd"):
        asked = typed(folder, "approval", "export", "--as", person)
        assert asked.status == 0
        request = tmp_path / f"{person}.json"
        request.write_text(asked.out)
        text = json.loads(asked.out)["sign"].encode()
        made = subprocess.run(
            ["ssh-keygen", "-Y", "sign", "-q", "-n", "rollback-approval-v1", "-f",
             str(tmp_path / f"key-{person}")], input=text, capture_output=True, check=True,
        )  # fmt: skip
        (tmp_path / f"{person}.sig").write_bytes(made.stdout)
        bring = ["approval", "import", str(request)]
        assert typed(folder, *bring).status == 4  # unsigned
        if person == "bo":
            bring += ["--signature", str(tmp_path / f"{person}.sig")]
        else:  # beside it, where ssh-keygen puts it
            (tmp_path / f"{person}.sig").rename(f"{request}.sig")
        back = program.rollback(folder, *bring)
        assert back.status == 0, back.err
        again = typed(folder, *bring)
        assert (again.status, "given before" in again.err) == (4, True)
    done = program.rollback(folder, "--json", "resume")
    assert (done.status, done.json["state"]) == (0, "COMPLETE"), done.out
    assert "limit: 3" in (signed_shop.tree / "config" / "app.yaml").read_text()
    assert typed(folder, "audit", "verify").status == 0
    report = typed(folder, "report").out
    assert "yes by bo" in report
    assert "(signed)" in report


def test_approve_with_a_key_drives_the_run_and_without_it_says_how(
    signed_shop: Shop, tmp_path: Path
) -> None:
    """`approve --key`; `--yes` of the requester is no second person."""
    folder = signed_shop.folder
    assert typed(folder, "run", "full", "--as", "bo", "--yes").status == 4
    bare = typed(folder, "approve", "--as", "cyd")
    assert bare.status == 4
    assert "--key FILE" in bare.err
    wrong = typed(folder, "approve", "--as", "cyd", "--key", str(tmp_path / "key-bo"))
    assert (wrong.status, "not signed with the declared key" in wrong.err) == (4, True)
    half = typed(folder, "--json", "approve", "--as", "cyd", "--key", str(tmp_path / "key-cyd"))
    assert half.status == 4
    assert json.loads(half.out)["waiting_for"]["what"] == "approval by lead"
    done = typed(folder, "--json", "approve", "--as", "ada", "--key", str(tmp_path / "key-ada"))
    assert (done.status, json.loads(done.out)["state"]) == (0, "COMPLETE")


def test_deny_ends_it(folder: Path, tmp_path: Path) -> None:
    """ABANDONED, exit 0 of the command, nothing changed."""
    shop = build(tmp_path)
    with shop.site() as site:
        site.checkpoints.create("before")
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    assert typed(tmp_path, "run", "full", "--as", "dee").status == 4
    before = shop.bytes()
    done = typed(tmp_path, "--json", "deny", "--as", "cyd", "--reason", "not on a friday")
    assert (done.status, json.loads(done.out)["state"]) == (0, "ABANDONED")
    assert shop.bytes() == before
    assert typed(tmp_path, "approve", "--as", "bo").status == 3


def test_the_second_run_has_nothing_to_do_and_offers_the_next_level(tmp_path: Path) -> None:
    """`changed: false`, exit 0; no run is made of it."""
    shop = build(tmp_path)
    with shop.site() as site:
        site.checkpoints.create("before")
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    first = typed(tmp_path, "--json", "run", "config", "--as", "ada", "--yes")
    assert (first.status, json.loads(first.out)["state"]) == (0, "COMPLETE"), first.out
    after = shop.bytes()
    second = typed(tmp_path, "--json", "run", "config", "--as", "ada", "--yes")
    assert second.status == 0
    assert json.loads(second.out) == {
        "changed": False, "level": "config", "state": None, "offer": "pages", "not_running": [],
        "suspended": {},
        "unproved": None,
    }  # fmt: skip
    assert shop.bytes() == after
    assert "nothing to roll back here" in typed(tmp_path, "run", "config", "--as", "ada").out
    listed = json.loads(typed(tmp_path, "history", "--json").out)["runs"]
    assert [run["run_id"] for run in listed] == ["r0001"]
    undone = typed(tmp_path, "--json", "undo", "--as", "ada", "--yes")
    assert (undone.status, json.loads(undone.out)["state"]) == (0, "MITIGATED")
    listed = json.loads(typed(tmp_path, "history", "--json").out)["runs"]
    assert [(run["level"], run["undoes"]) for run in listed] == [
        ("config", None),
        ("config", "r0001"),
    ]
    rows = typed(tmp_path, "history").out.splitlines()[1:]
    assert ["undo of r0001" in row for row in rows] == [True, False]  # the newest first
    assert "limit: 99" in (shop.tree / "config" / "app.yaml").read_text()


def test_a_secret_of_the_declaration_never_reaches_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`env:` names it, an operator types it as a reason: masked in journal and report."""
    shop = build(tmp_path)
    shop.edit("op: {title: Operator}", 'op: {title: Operator, contact: "env:OPS_URL"}')
    monkeypatch.setenv("OPS_URL", "https://chat.example.org/hook-s3cr3t")
    assert typed(tmp_path, "run", "flag", "--as", "ada", "--yes", "--reason", "because").status == 0
    reason = "see https://chat.example.org/hook-s3cr3t"
    denied = typed(tmp_path, "undo", "--as", "ada", "--yes", "--reason", reason)
    assert denied.status == 3
    assert "secret" in denied.err
    for path in (tmp_path / ".rollback").rglob("*"):
        assert not path.is_file() or b"hook-s3cr3t" not in path.read_bytes(), path


def test_a_damaged_journal_is_said_by_every_command_that_reads_it(tmp_path: Path) -> None:
    """Exit 8, and where; nothing goes on."""
    shop = build(tmp_path)
    assert typed(tmp_path, "run", "flag", "--as", "ada", "--yes").status == 0
    shop.journal.write_bytes(
        shop.journal.read_bytes().replace(b'"run":"r0001"', b'"run":"r0002"', 1)
    )
    again = ["run", "flag", "--as", "ada", "--yes"]
    for words in (["status"], ["history"], ["audit", "verify"], again, ["resume"]):
        done = typed(tmp_path, *words)
        assert done.status == 8, words
        assert "damaged" in done.out + done.err


def test_whoever_drives_a_run_loads_no_network_before_it() -> None:
    """A flag is flipped within a quarter of a second: what it does not need is not imported."""
    code = "import sys, rollback.cli.group, rollback.cli.run, rollback.cli.driving, rollback.act.engine; " \
        "print(*sys.modules)"  # fmt: skip
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True,
                          env=environment(), timeout=60, check=True)  # fmt: skip
    assert not {
        "ssl",
        "http.client",
        "rollback.tell.message",
        "pygit2",
        "rollback.act.service",
        "rollback.model.operations",
        "rollback.model.policy",
    } & {*done.stdout.split()}
