"""The channels and the calls, as somebody at a terminal has them: notify, ack, validate."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollback.act import authorize, calling
from rollback.act.driving import drive
from rollback.act.ladders import ladders
from rollback.host import Clock
from rollback.model.lifecycle import State
from rollback.model.wording import FIELDS, MOMENTS
from tests.act.test_delivering import closed_port, hook, queue, shop_with
from tests.act.test_ladders import never_proved
from tests.act.test_ladders import shop_with as shop_with_ladder
from tests.cli.program import rollback
from tests.systems import Shop, build
from tests.tell.test_message import listening


def test_each_channel_is_tried_and_the_table_says_what_came_of_it(tmp_path: Path) -> None:
    """One that works, one that does not, one that a person carries: exit 7, as long as one fails."""
    with listening() as (port, got):
        shop = shop_with(tmp_path, f"""    web: {hook(port, ", fallback: box")}
    dead: {hook(closed_port())}
    box: {{file: {{path: box.jsonl}}}}
    phone: {{phone: {{who: the engineer on call}}}}""", "[web]")  # fmt: skip
        ended = rollback(shop.folder, "notify", "test", "--json")
        assert ended.status == 7
        found = {one["channel"]: one for one in ended.json["channels"]}
        assert {name: one["ok"] for name, one in found.items()} == {
            "web": True, "dead": False, "box": True, "phone": True,
        }  # fmt: skip
        assert found["web"]["fallback"] == "box"
        assert "no answer" in found["dead"]["detail"]
        table = rollback(shop.folder, "notify", "test", "web", "dead")
        assert table.status == 7
        assert [line.split()[:3] for line in table.out.splitlines()[1:]] == [
            ["web", "webhook", "works"], ["dead", "webhook", "fails"],
        ]  # fmt: skip
        assert rollback(shop.folder, "notify", "test", "box").status == 0
        unknown = rollback(shop.folder, "notify", "test", "bix")
        assert unknown.status == 3
        assert "did you mean box?" in unknown.err
    assert all("a test" in one["text"] or "test of Shop" in one["text"] for one in got)
    assert not (shop.folder / ".rollback").exists()


def test_what_is_queued_is_delivered_by_hand_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came of it is said; the second time nothing is left."""
    shop = shop_with(tmp_path, "    box: {file: {path: box.jsonl}}", "[box]")
    with shop.site() as site:
        queue(site, "a", monkeypatch=monkeypatch)
    first = rollback(shop.folder, "notify", "deliver", "--json")
    assert (first.status, [one["ok"] for one in first.json["tried"]]) == (0, [True])
    again = rollback(shop.folder, "notify", "deliver")
    assert (again.status, again.out) == (0, "nothing is left\n")
    shop = shop_with(tmp_path / "other", f"    web: {hook(closed_port())}", "[web]")
    with shop.site() as site:
        queue(site, "a", monkeypatch=monkeypatch)
    failed = rollback(shop.folder, "notify", "deliver")
    assert failed.status == 7
    assert "1 message left to try again" in failed.out


@pytest.fixture
def called(tmp_path: Path) -> Shop:
    """A shop where people are called about a run whose gate stayed closed."""
    made = shop_with_ladder(tmp_path)
    never_proved(made)
    with made.site() as site:
        run = authorize.create(site, made.plan(site, "config"))
        authorize.approve(site, run, person="ada")
        assert drive(site, run, wait=False).state is State.NEEDS_OPERATOR
    return made


def test_status_says_who_is_called_and_ack_ends_it(called: Shop) -> None:
    """What to type stands beside it, and typed it works; twice it changes nothing."""
    told = rollback(called.folder, "status").out
    assert "called since" in told
    assert "try: rollback ack r0001 --as PERSON" in told
    assert rollback(called.folder, "status", "--json").json["calls"][0]["called"] == ["op"]
    for words in (("ack", "r0002", "--as", "bo"), ("ack", "nothing", "--as", "bo")):
        ended = rollback(called.folder, *words)
        assert ended.status == 3
        assert "did you mean r0001?" in ended.err or "known: r0001" in ended.err
    assert rollback(called.folder, "ack", "r0001", "--as", "zed").status == 4
    first = rollback(called.folder, "ack", "r0001", "--as", "bo", "--json")
    assert (first.status, first.json["changed"], first.json["by"]) == (0, True, "bo")
    again = rollback(called.folder, "ack", "r0001", "--as", "ada", "--json")
    assert (again.status, again.json["changed"]) == (0, False)
    assert again.json["before"] == {"by": "bo", "at": first.json["at"]}
    assert rollback(called.folder, "status", "--json").json["calls"] == []
    nothing = rollback(called.folder, "ack", "--as", "bo")
    assert (nothing.status, "nothing waits" in nothing.err) == (3, True)
    assert f"bo took it at {first.json['at'][:16]}Z" in nothing.err


@pytest.mark.long
def test_who_took_it_and_what_is_said_by_their_names(called: Shop) -> None:
    """No number of ours where there is a title; twice: who was first, and when."""
    with called.site() as site:
        (one,) = ladders(site.journal.events())
    first = rollback(called.folder, "ack", "all", "--as", "bo")
    assert first.out.startswith(
        "bo has taken it: Everybody, about run r0001; nobody else is called\n"
    )
    (at,) = [line["at"] for line in called.lines() if line["kind"] == "alert.acknowledged"]
    for name in ("all", "r0001"):
        again = rollback(called.folder, "ack", name, "--as", "ada")
        assert again.out == f"bo took {name} at {at[:16]}Z: nothing changes\n"
    for done in (first, again, rollback(called.folder, "status")):
        assert one.id not in done.out


def test_what_is_called_about_nothing_in_particular_has_the_name_of_its_ladder(
    called: Shop,
) -> None:
    """And can be acknowledged by it."""
    with called.site() as site:
        site.note(site.run("r0001"), "run.abandoned", reason="enough")
        site.tell(
            "ladder.begun", run="", id="all-7", ladder="all", because="late", cause="x", incident=""
        )
    assert "try: rollback ack all --as PERSON\n" in rollback(called.folder, "status").out
    taken = rollback(called.folder, "ack", "all", "--as", "bo").out
    assert taken.startswith("bo has taken it: Everybody; nobody")


def test_what_is_said_while_another_run_goes_on_names_its_own(called: Shop) -> None:
    """Whoever types `run` hears of a ladder about an earlier run by the name of that run."""
    called.edit("{role: lead, within: 5m}", "{role: lead, within: 1ms}")
    called.edit("{role: chief, within: 15m}", "{role: chief, within: 2ms}")
    (called.tree / "pages" / "index.html").write_text("<h1>sold out</h1>")
    words = ("run", "pages", "--component", "pages", "--to", "newest", "--as", "ada")
    done = rollback(called.folder, *words)
    assert done.status == 4, done.err
    assert "  ! called about run r0001: lead\n" in done.err


def test_a_no_is_an_acknowledgement_by_who_said_it(tmp_path: Path) -> None:
    """The ladder that asked for the approval has ended in silence; the denial answers it."""
    made = shop_with_ladder(tmp_path, escalate="")
    made.edit("authority: {roles: [lead, chief], quorum: all}",
              "authority: {roles: [lead, chief], quorum: all, ladder: all}")  # fmt: skip
    with made.site() as site:
        drive(site, authorize.create(site, made.plan(site, "full", requester="dee")), wait=False)
        made.clock.ahead_s += 10_000
        calling.look(site)
    assert "NOBODY ACKNOWLEDGED" in rollback(made.folder, "status").out
    assert rollback(made.folder, "deny", "--as", "bo", "--note", "too late").status == 0
    assert "NOBODY" not in rollback(made.folder, "status").out
    (taken,) = [one for one in made.lines() if one["kind"] == "alert.acknowledged"]
    assert (taken["data"]["by"], taken["run"]) == ("bo", "r0001")


def test_silence_about_what_is_over_stands_nowhere(called: Shop) -> None:
    """The run that nobody took was given up since: nobody has to come any more."""
    with called.site() as site:
        called.clock.ahead_s += 100_000
        calling.look(site)
        assert [one.silent for one in ladders(site.journal.events())] == [True]
        site.note(site.run("r0001"), "run.abandoned", reason="enough")
        calling.look(site)
    assert "NOBODY" not in rollback(called.folder, "status").out
    over = rollback(called.folder, "ack", "r0001", "--as", "bo")
    assert (over.status, over.out) == (
        0, "nobody is called about r0001 any more: run r0001 is ABANDONED\n",
    )  # fmt: skip


@pytest.mark.long
def test_cron_may_move_ladders_on(tmp_path: Path) -> None:
    """Without an agent `notify deliver` calls whoever is due by then."""
    made = shop_with_ladder(tmp_path)
    never_proved(made)
    made.edit("{role: lead, within: 5m}", "{role: lead, within: 1s}")
    with made.site() as site:
        run = authorize.create(site, made.plan(site, "config"))
        authorize.approve(site, run, person="ada")
        drive(site, run, wait=False)

    def moved() -> bool:
        assert rollback(made.folder, "notify", "deliver").status == 0
        (call,) = rollback(made.folder, "status", "--json").json["calls"]
        return bool(call["called"] == ["op", "lead"])

    assert Clock().poll(moved, within_s=60, every_s=0.5)


def test_a_ladder_that_ended_in_silence_stands_in_status(called: Shop) -> None:
    """Loudly, until somebody takes it after all."""
    with called.site() as site:
        called.clock.ahead_s += 100_000
        calling.look(site)
        calling.look(site)
    assert "NOBODY ACKNOWLEDGED" in rollback(called.folder, "status").out
    assert rollback(called.folder, "ack", "--as", "cyd").status == 0
    assert "NOBODY" not in rollback(called.folder, "status").out


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ('{audience: ops, text: "{resaon}"}', "nothing fills {resaon}; did you mean reason?"),
        ('{audience: ops, text: "x", fields: [whatever_it_is]}', "nothing fills {whatever_it_is}; known: "),
        ('{audience: ops, text: "{next_update}"}', "it is there in a message with every"),
        ('{audience: ops, text: "{role}"}', "it is there in a message with a ladder"),
        ('{audience: ops, text: "{which}", on: [mitigated]}', "in a message with on: [overdue]"),
        ('{audience: ops, title: "{phase}", text: "x"}', "in a message with on: [phase]"),
        ('{audience: ops, text: "x", on: [mitigatd]}', "no moment 'mitigatd'; did you mean mitigated?"),
    ],
)  # fmt: skip
def test_a_message_that_could_never_be_sent_is_refused_with_its_line(
    tmp_path: Path, message: str, said: str
) -> None:
    """Exit 2, file and line, and what there is instead."""
    made = build(tmp_path)
    made.edit("people:\n", f"""notify:
  channels: {{box: {{file: {{path: box.jsonl}}}}}}
  audiences: {{ops: [box]}}
  messages:
    wrong: {message}
people:
""")  # fmt: skip
    ended = rollback(tmp_path, "validate")
    line = 1 + (tmp_path / "rollback.yaml").read_text().splitlines().index(f"    wrong: {message}")
    assert ended.status == 2
    assert f"rollback.yaml:{line}: notify.messages.wrong" in ended.err
    for part in said.split("; "):
        assert part in ended.err


@pytest.mark.parametrize(
    ("channels", "said"),
    [
        ("a: {file: {path: a, fallback: c}}, b: {file: {path: b}}", "there is no channel 'c'"),
        ("a: {file: {path: a, fallback: b}}, b: {file: {path: b, fallback: a}}", "a circle: a → b → a"),
        ("a: {phone: {who: me, role: nobody}}", "there is no role 'nobody'"),
        ('a: {apprise: {url: "slack://T/B/C"}}', "write a reference"),
    ],
)  # fmt: skip
def test_channels_that_lead_nowhere_are_refused(tmp_path: Path, channels: str, said: str) -> None:
    """A fallback that is none, a circle of them, a role without people, a secret that stands there."""
    made = build(tmp_path)
    made.edit("people:\n", f"notify: {{channels: {{{channels}}}}}\npeople:\n")
    ended = rollback(tmp_path, "validate")
    assert ended.status == 2
    assert said in ended.err


def test_each_field_and_moment_is_known_by_name() -> None:
    """They are words as a declaration writes them, and each says what it is."""
    assert all(FIELDS.values())
    assert all(MOMENTS.values())
