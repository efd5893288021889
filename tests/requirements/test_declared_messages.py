"""The texts of the declared systems, sent by real runs: every field filled, at the right moment."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollback import declare
from rollback.act import authorize, calling
from rollback.act.driving import drive
from rollback.act.site import Site
from rollback.model.event import Event
from rollback.model.lifecycle import Run, State
from tests.systems import Shop, build
from tests.watch.places import told

SYSTEMS = Path(__file__).parents[2] / "systems"
STEP = "steps: [{restore: {component: config}}]\n"


def shop_with(
    folder: Path, system: str, *names: str, around: str = "{}", ladder: str = "", title: str = ""
) -> Shop:
    """The shop with these messages of a declared system, all of them in one box.

    `around` are the steps of its level config, with {} where it goes back.
    """
    theirs = declare.load(SYSTEMS / f"{system}.yaml", environ={}).source["notify"]
    audiences = {theirs["messages"][name]["audience"] for name in names}
    notify: dict[str, Any] = {
        "channels": {"box": {"file": {"path": "box.jsonl"}}},
        "audiences": {name: ["box"] for name in audiences},
        "messages": {name: theirs["messages"][name] for name in names},
    }
    made = build(folder / "shop")
    if ladder:
        rungs = [
            {"role": "op", "within": one["within"]} for one in theirs["ladders"][ladder]["rungs"]
        ]
        notify["ladders"] = {ladder: {**theirs["ladders"][ladder], "rungs": rungs}}
        notify["ladders"][ladder].pop("self_authorize", None)
    more = {"notify": notify, "reports": {"incident-review": {"title": "Review", "due": "48h"}}}
    made.edit("people:\n", yaml.safe_dump(more, sort_keys=False) + "people:\n")
    steps = around.replace("{}", "{restore: {component: config}}")
    made.edit(
        STEP, (f"on_fail: {{escalate: {ladder}}}\n    " if ladder else "") + f"steps: [{steps}]\n"
    )
    with made.site() as site:
        site.checkpoints.create("good")
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    return made


def said(name: str) -> str:
    """The step that sends a message."""
    return f"{{notify: {{message: {name}}}}}"


def texts(shop: Shop) -> list[str]:
    file = shop.folder / "box.jsonl"
    found = (
        [json.loads(line)["text"] for line in file.read_text().splitlines()]
        if file.exists()
        else []
    )
    assert all("{" not in re.sub(r"\{\".*\}", "", one) for one in found), found
    return found


def went_back(shop: Shop, site: Site, reason: str = "it answers nobody") -> Run:
    run = authorize.create(site, shop.plan(site, "config", reason=reason))
    authorize.approve(site, run, person="ada")
    return drive(site, run, wait=False)


@pytest.mark.requirement("MB-59")
def test_the_alert_of_a_critical_failure_has_all_its_fields(tmp_path: Path) -> None:
    """Time, system, failure, impact, action, expected end, contact."""
    shop = shop_with(tmp_path, "mother_box", "alert", around=f"{said('alert')}, {{}}")
    with shop.site() as site:
        run = went_back(shop, site)
    (text,) = texts(shop)
    began = datetime.fromisoformat(run.moments["run.planned"][2])
    assert text.startswith(f"CRITICAL FAILURE. Time {began:%Y-%m-%d}")
    for part in ("System Shop.", "Failure it answers nobody.", "Impact config.", "Action Settings back.",
                 "Contact Operator (ada)."):  # fmt: skip
        assert part in text
    ends = datetime.fromisoformat(re.search(r"end (\S+ \S+) UTC", text)[1])  # type: ignore[index]
    assert (ends - began.replace(tzinfo=None, microsecond=0)).total_seconds() == 300


@pytest.mark.parametrize(
    ("names", "statuses"),
    [
        pytest.param(("config-begins", "config-done"), ["In Progress", "Complete"],
                     marks=pytest.mark.requirement("PM-67")),
        pytest.param(("code-begins", "code-testing", "code-deploying", "code-done"),
                     ["In Progress", "Testing", "Deploying", "Complete"],
                     marks=pytest.mark.requirement("PM-69")),
    ],
)  # fmt: skip
def test_each_stage_has_its_message_in_order(
    tmp_path: Path, names: tuple[str, ...], statuses: list[str]
) -> None:
    """The first one says why and what to; the statuses follow each other."""
    around = ", ".join([said(names[0]), "{}", *map(said, names[1:])])
    shop = shop_with(tmp_path, "party_mode", *names, around=around)
    with shop.site() as site:
        assert went_back(shop, site).state is State.COMPLETE
    found = texts(shop)
    assert [
        re.search(r"Status: ([\w ]+)\.", one)[1] for one in found if "Status" in one
    ] == statuses  # type: ignore[index]
    assert "Reason: it answers nobody." in found[0]
    if names[0] == "code-begins":
        assert re.search(r"minutes, \d\d:\d\d-\d\d:\d\d UTC\. Engineering stands by", found[0])


@pytest.mark.requirement("PM-71")
def test_all_hands_hear_of_the_incident_by_the_id_of_its_report(tmp_path: Path) -> None:
    """INC-day-001, and -002 for the next one of the same day."""
    around = f"{said('full-begins')}, {{}}, {said('full-done')}"
    shop = shop_with(tmp_path, "party_mode", "full-begins", "full-done", around=around)
    with shop.site() as site:
        for number in (1, 2):
            run = went_back(shop, site)
            day = datetime.fromisoformat(run.moments["run.planned"][2])
            assert run.incident == f"INC-{day:%Y%m%d}-{number:03}"
            assert f"incident {run.incident}." in texts(shop)[-1]
            report = json.loads((site.state.path / "runs" / run.id / "report.json").read_text())
            assert report["incident"] == run.incident
            (shop.tree / "config" / "app.yaml").write_text(f"party: true\nlimit: {number}\n")


@pytest.mark.requirement("PM-72")
def test_users_read_three_times_in_their_order(tmp_path: Path) -> None:
    """Begin, expected end, and when what happened will be published."""
    shop = shop_with(tmp_path, "party_mode", "users-full", around=f"{said('users-full')}, {{}}")
    with shop.site() as site:
        went_back(shop, site)
    times = re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", texts(shop)[0])
    assert len(times) == 3
    assert times == sorted(set(times))


@pytest.mark.requirement("PM-65")
def test_the_alert_of_a_flag_comes_every_half_hour_until_it_is_over(tmp_path: Path) -> None:
    """Why, what it concerns, and when the next word comes."""
    shop = shop_with(tmp_path, "party_mode", "flag-alert")
    shop.edit("keys: [limit]", "keys: [limit, never]")
    with shop.site() as site:
        assert went_back(shop, site).state is State.NEEDS_OPERATOR
        for seconds, so_far in ((1740, 1), (80, 2), (1800, 3)):
            shop.clock.ahead_s += seconds
            calling.look(site)
            assert len(texts(shop)) == so_far
        site.note(site.run("r0001"), "run.abandoned", reason="over")
        shop.clock.ahead_s += 1801
        calling.look(site)
    found = texts(shop)
    assert len(found) == 3
    assert "Reason: it answers nobody" in found[0]
    assert "Impact: config; lost: settings since the checkpoint." in found[0]
    assert re.search(r"Next word: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\.", found[0])


@pytest.mark.requirement("AW-25")
def test_the_urgent_word_says_what_who_and_when(tmp_path: Path) -> None:
    """The issue, who authorised it, and the time in UTC."""
    shop = shop_with(tmp_path, "ai_workflow", "urgent", around=f"{said('urgent')}, {{}}")
    with shop.site() as site:
        went_back(shop, site)
    (text,) = texts(shop)
    assert "Critical problem with Shop: it answers nobody." in text
    assert re.search(r"Authorised by ada, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", text)


@pytest.mark.requirement("AW-51")
def test_the_all_clear_leaves_only_after_the_gate_opened(tmp_path: Path) -> None:
    """On all three channels, with time, duration, cause and impact; a closed gate gives none."""
    shop = shop_with(tmp_path, "ai_workflow", "all-clear")
    shop.edit("    box:\n      file:\n        path: box.jsonl\n",
              "    box: {file: {path: box.jsonl}}\n    chat: {file: {path: chat.jsonl}}\n"
              "    in-app: {file: {path: app.jsonl}}\n")  # fmt: skip
    shop.edit("    everyone:\n    - box\n", "    everyone: [box, chat, in-app]\n")
    opened: list[int] = []

    def heard(event: Event) -> None:
        if event.kind == "gate.opened":
            opened.append(len(texts(shop)))

    shop.edit("keys: [limit]", "keys: [limit, never]")
    with shop.site() as site:
        assert went_back(shop, site).state is State.NEEDS_OPERATOR
        assert texts(shop) == []
        site.note(site.run("r0001"), "run.abandoned", reason="over")
    shop.edit("keys: [limit, never]", "keys: [limit]")
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 98\n")
    with shop.site(listen=heard) as site:
        assert went_back(shop, site).state is State.COMPLETE
        assert opened == [0]
        (queued,) = told(site, "message.queued")
        assert queued.seq > told(site, "gate.opened")[0].seq
    (text,) = texts(shop)
    assert re.search(r"Rolled back at .* UTC.*it took [\d.]+ (s|min)", text)
    assert "Cause: not known yet. Impact: config; lost: settings since the checkpoint." in text
    for name in ("box", "chat", "app"):
        assert len((shop.folder / f"{name}.jsonl").read_text().splitlines()) == 1


@pytest.mark.requirement("QL-48")
def test_the_escalation_says_only_what_was_done(tmp_path: Path) -> None:
    """Reason, time, status, context as JSON, actions that the journal has, and what to type next."""
    shop = shop_with(tmp_path, "quantum_lattice", "escalation", ladder="person")
    shop.edit("keys: [limit]", "keys: [limit, never]")
    with shop.site() as site:
        run = went_back(shop, site)
        assert run.state is State.NEEDS_OPERATOR
    (text,) = texts(shop)
    context = json.loads(re.search(r"Context: (\{.*\})\. Done", text)[1])  # type: ignore[index]
    assert (context["run"], context["state"], context["suites"]) == (
        run.id,
        "NEEDS_OPERATOR",
        {"smoke": False},
    )
    done = re.search(r"Done: (.*)\. Next", text)[1]  # type: ignore[index]
    assert done.split("; ")[0] == f"the present is kept as checkpoint {run.safety[:12]}"
    assert "restore done" in done
    assert re.search(r"suite smoke \d+ passed, 1 failed", done)
    assert "stopped: nothing goes on by itself" in done
    assert f"look at {shop.journal}" in text
    assert "type rollback verify" in text


@pytest.mark.requirement("QL-48")
def test_of_what_was_not_done_it_says_nothing(tmp_path: Path) -> None:
    """Before its first step a run has kept, restored and asked nothing."""
    shop = shop_with(
        tmp_path, "quantum_lattice", "escalation", around=f"{said('escalation')}, {{}}"
    )
    with shop.site() as site:
        went_back(shop, site)
    (text,) = texts(shop)
    done = re.search(r"Done: (.*)\. Next", text)[1]  # type: ignore[index]
    assert "restore" not in done
    assert "suite" not in done
    assert "stopped" not in done


def test_every_declared_message_of_a_run_is_filled(tmp_path: Path) -> None:
    """Each text of the six systems that names no ladder, record or event can be sent by any run."""
    for number, name in enumerate(
        ("ai_workflow", "mother_box", "party_mode", "quantum_lattice", "vrooli")
    ):
        theirs = declare.load(SYSTEMS / f"{name}.yaml", environ={})
        names = [key for key, one in theirs.notify.messages.items() if not one.every]
        around = ", ".join([*map(said, names), "{}"])
        shop = shop_with(tmp_path / str(number), name, *names, around=around)
        with shop.site() as site:
            run = went_back(shop, site)
            assert "run.mitigated" in run.moments
            missing = {str(e.data["name"]): e.data["missing"] for e in told(site, "message.queued")
                       if e.data["missing"]}  # fmt: skip
        assert missing == {}
