"""Before other people or another policy are believed, what has changed is shown: old and new, no secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.program import rollback
from tests.systems import Shop, build


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A shop whose people and policy were pinned by its first run."""
    made = build(tmp_path)
    assert rollback(made.folder, "run", "flag", "--as", "ada", "--yes").status == 0
    return made


def test_what_changed_is_shown_part_by_part_before_it_is_pinned(shop: Shop) -> None:
    """As the keys of the file, old -> new; what did not change is not named; then it is pinned."""
    shop.edit("{roles: [lead], count: 2}", "{roles: [lead], count: 1}")
    shop.edit("{id: dee, roles: [guest]", "{id: dee, roles: [guest, lead]")
    shop.edit("    - {id: fay, roles: [lead]}\n", "")
    shown = rollback(shop.folder, "trust", "--as", "ada", "--dry-run")
    assert shown.status == 0
    assert shown.out.splitlines() == [
        "levels.pages",
        "  ~ authority.count: 2 -> 1",
        "people",
        "  ~ members.dee.roles: [guest] -> [guest, lead]",
        "  - members.fay.id: fay",
        "  - members.fay.roles: [lead]",
    ]
    (shop.tree / ".env").write_text("PARTY=true\n")
    assert rollback(shop.folder, "run", "flag", "--as", "ada", "--yes").status == 4, (
        "not pinned yet"
    )
    refused = rollback(shop.folder, "trust", "--as", "ada")
    assert refused.status == 2
    assert refused.out == shown.out, "shown before it is asked"
    done = rollback(shop.folder, "trust", "--as", "ada", "--yes")
    assert done.status == 0
    assert done.out.startswith(shown.out)
    assert "trusted from now on" in done.out.splitlines()[-1]
    assert "trusted already" in rollback(shop.folder, "trust", "--as", "ada").out


def test_a_program_is_told_the_difference_too(shop: Shop) -> None:
    """One document; None is what is not there."""
    shop.edit("{roles: [lead], count: 2}", "{roles: [lead, chief], quorum: all}")
    told = rollback(shop.folder, "trust", "--as", "ada", "--yes", "--json").json
    assert told["changed"] is True
    found = [(one["part"], one["at"], one["before"], one["after"]) for one in told["difference"]]
    assert found == [
        ("levels.pages", "authority.count", 2, None),
        ("levels.pages", "authority.quorum", None, "all"),
        ("levels.pages", "authority.roles", ["lead"], ["lead", "chief"]),
    ]


def test_the_value_of_a_secret_is_neither_kept_nor_shown(shop: Shop) -> None:
    """What a variable of the environment puts into a policy is masked wherever it is written."""
    shop.edit("components:\n", "environment: {variables: {PLACE: {default: /srv/none}}}\n"
              "places: {far: {path: '${PLACE}', may: [read]}}\n"
              "checkpoints: {stores: {bucket: {s3: {bucket: bucket, endpoint: 'https://x.example.org', "
              "access_key: 'env:S3_A', secret_key: 'env:S3_B'}}}}\ncomponents:\n")  # fmt: skip
    hidden = {"S3_A": "access-one-two", "S3_B": "/srv/of-secret-words"}
    done = rollback(shop.folder, "trust", "--as", "ada", "--yes", **hidden)
    assert done.status == 0, done
    before = rollback(shop.folder, "trust", "--as", "ada", "--json", "--dry-run",
                      PLACE="/srv/of-secret-words", **hidden)  # fmt: skip
    assert before.json["difference"][0]["part"] == "places"
    assert "of-secret-words" not in before.out
    done = rollback(
        shop.folder, "trust", "--as", "ada", "--yes", PLACE="/srv/of-secret-words", **hidden
    )
    assert done.status == 0
    assert "of-secret-words" not in done.out
    kept = (shop.folder / ".rollback" / "trust.json").read_text()
    assert json.loads(kept)["bodies"]["places"]["far"]["may"] == ["read"]
    assert "of-secret-words" not in kept


def test_what_was_pinned_before_its_words_were_kept_is_named(shop: Shop) -> None:
    """The part is, and what it is now; nothing is made up."""
    file = shop.folder / ".rollback" / "trust.json"
    body = json.loads(file.read_text())
    del body["bodies"]
    file.write_text(json.dumps(body))
    shop.edit("{roles: [lead], count: 2}", "{roles: [lead]}")
    told = rollback(shop.folder, "trust", "--as", "ada", "--dry-run")
    assert told.status == 0
    assert told.out.splitlines()[0] == "levels.pages"
    assert told.out.splitlines()[1].startswith("  its words were not kept")
    assert "  + authority.roles: [lead]" in told.out.splitlines()


def test_a_new_level_is_shown_value_by_value(shop: Shop) -> None:
    """As people write it, by the keys that lead there: no JSON but where it is asked for."""
    shop.edit(
        "  later:\n",
        """  extra:
    rank: 9
    title: Extra
    data_loss: none
    budgets: {mitigated: 1m, complete: 5m}
    authority: {roles: [op], alone: true}
    steps: [{restore: {component: config}}]
    target: {sources: [{checkpoint: last-good}]}
    gate: {suites: [smoke]}
    checklist: [{id: told, item: "Somebody was told, at once", attest: op}]
  later:
""",
    )
    said = rollback(shop.folder, "trust", "--as", "ada", "--dry-run").out
    assert said.splitlines() == [
        "levels.extra",
        "  + rank: 9",
        "  + authority.roles: [op]",
        "  + authority.alone: true",
        "  + gate.suites: [smoke]",
        "  + checklist.told.id: told",
        "  + checklist.told.item: Somebody was told, at once",
        "  + checklist.told.attest: op",
    ]
    (one,) = rollback(shop.folder, "--json", "trust", "--as", "ada", "--dry-run").json["difference"]
    assert (one["before"], one["after"]["rank"]) == (None, 9)


def test_who_changed_the_policy_is_led_to_trust_by_every_command(shop: Shop) -> None:
    """By what looks, before it is needed, and by what begins a run; then nothing more is said of it."""
    looking = (("validate",), ("plan", "config"), ("status",))
    with shop.site() as site:
        site.checkpoints.create("good", components=("config",))
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    for words in (*looking, ("monitor", "--once")):
        assert "rollback trust" not in "".join(told(shop, *words))
    shop.edit("{roles: [lead], count: 2}", "{roles: [lead], count: 1}")
    for words in looking:
        done = rollback(shop.folder, *words)
        assert done.status == 0, done
        assert done.out.rstrip().endswith("rollback trust"), done.out
    watched = rollback(shop.folder, "monitor", "--once")
    assert "it can begin nothing: the people or the policy" in watched.err
    assert (
        "levels.pages changed\n  try: look at the change, then accept it with: rollback trust\n"
        in (watched.err)
    )
    begun = rollback(shop.folder, "run", "config", "--as", "ada", "--yes")
    assert (begun.status, "rollback trust" in begun.err) == (4, True)
    for words in (("plan", "config"), ("validate",), ("status",)):
        assert rollback(shop.folder, "--json", *words).json["trusted"] is False
    assert rollback(shop.folder, "trust", "--as", "ada", "--yes").status == 0
    for words in (*looking, ("monitor", "--once")):
        assert "rollback trust" not in "".join(told(shop, *words))
    assert rollback(shop.folder, "--json", "plan", "config").json["trusted"] is True


def told(shop: Shop, *words: str) -> tuple[str, str]:
    """What a command printed on both."""
    done = rollback(shop.folder, *words)
    return done.out, done.err
