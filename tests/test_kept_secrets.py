"""A secret that a variable brings into the declaration is in no file, and a changed one is noticed."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rollback import declare
from rollback.act.site import Site
from rollback.host import Host
from rollback.keep import trust
from rollback.keep.redact import spellings
from rollback.model.errors import NotAuthorized, SpecError
from rollback.model.event import digest
from rollback.model.system import System
from tests.cli.program import Ended, rollback
from tests.systems import Shop, build
from tests.tell.test_message import listening

BY_NAME, BY_PLACE, BY_WORD, IN_FILE = "SHOP_TOKEN", "REACH", "PLAIN", "SHOP_PASSWORD"
SECRETS = {
    BY_NAME: "tangerine-4711-north",
    BY_PLACE: "walrus/under+ice=9",
    BY_WORD: "quartz_17-more",
}
FILED = "in-the-file-of-variables"
PORT, ENV = "REAL_PORT", "shop.env"
VARIABLES = f"""environment:
  file: shop.env
  variables: {{{BY_NAME}: {{}}, {BY_PLACE}: {{}}, {BY_WORD}: {{secret: true}}, {IN_FILE}: {{}}, {PORT}: {{}}}}
environments: {{staging: {{root: tree, title: "of ${{{BY_WORD}}}"}}}}
metrics:
  answers: {{title: "${{{BY_NAME}}}", unit: boolean, source: {{probe: {{url: "http://127.0.0.1:${{{PORT}}}/?t=${{{BY_WORD}}}"}}}}}}
triggers:
  - {{id: down, when: {{metric: answers, below: 1}}, respond: {{roll_back: config}}}}
notify:
  channels: {{web: {{webhook: {{url: "http://127.0.0.1:${{{PORT}}}/${{{BY_NAME}}}"}}}}}}
  audiences: {{ops: [web]}}
  messages: {{how: {{audience: ops, on: [mitigated, needs-operator], text: "${{{BY_WORD}}} ${{{IN_FILE}}}"}}}}
verification:
"""
HTTP = (f'    - http: {{id: shielded, url: "http://127.0.0.1:${{{PORT}}}/?key=${{{BY_NAME}}}", '
        f'headers: {{Authorization: "Bearer ${{{BY_PLACE}}}", X-Say: "${{{IN_FILE}}}"}}}}\n'
        f'    - command: {{id: loud, argv: [/bin/echo, "${{{BY_WORD}}}", "${{{BY_PLACE}}}"]}}\n'
        f'    - config: {{id: wants, file: config/app.yaml, values: {{limit: "${{{IN_FILE}}}"}}}}\n'
        )  # fmt: skip


@pytest.fixture
def port() -> Iterator[int]:
    """A server that answers every question."""
    with listening() as (found, _heard):
        yield found


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop whose declaration says secrets wherever a value of the environment may stand."""
    made = build(tmp_path / "shop")
    (made.folder / ENV).write_text(f'{IN_FILE}="{FILED}"\n')
    made.edit("verification:\n", VARIABLES)
    made.edit("  smoke:\n", "  smoke:\n" + HTTP)
    return made


def known(port: int, **other: str) -> dict[str, str]:
    return {**SECRETS, PORT: str(port), **other}


def written(shop: Shop) -> dict[str, bytes]:
    """Every file below the folder of the declaration."""
    return {
        str(path.relative_to(shop.folder)): path.read_bytes()
        for path in shop.folder.rglob("*")
        if path.is_file() and not path.is_symlink() and path.name != ENV
    }


def hits(texts: dict[str, bytes]) -> list[tuple[str, str]]:
    """Where a secret stands, in any spelling, or a digest of it that anybody could try values on."""
    found = []
    for name, text in texts.items():
        for secret in (*SECRETS.values(), FILED):
            bare = hashlib.sha256(secret.encode()).hexdigest()
            found += [
                (name, spelt) for spelt in (*spellings(secret), bare) if spelt.encode() in text
            ]
    return found


@contextmanager
def opened(shop: Shop, environ: dict[str, str]) -> Iterator[Site]:
    """The site of the shop as its declaration reads in that environment."""
    with Site.open(declare.load(shop.folder / "rollback.yaml", environ=environ), Host()) as site:
        yield site


def said(ended: list[Ended]) -> dict[str, bytes]:
    return {f"call {number}": (one.out + one.err).encode() for number, one in enumerate(ended)}


@pytest.mark.requirement("QL-63")
def test_no_value_that_is_secret_is_in_any_file(shop: Shop, port: int) -> None:
    """By its name, by where it is used, or since it is declared so; whatever the run came to."""
    environ = known(port)
    ended = [rollback(shop.folder, "checkpoint", "create", "good", **environ)]
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    for words in (
        ("run", "config", "--as", "ada", "--yes", "--reason", "it is loud"), ("decide",),
        ("verify", "--results", "left"), ("status",), ("plan", "pages", "--component", "pages"),
        ("report", "last"), ("history", "last", "--json"), ("monitor", "--once"), ("validate", "--json"),
        ("notify", "deliver"), ("trust",), ("ready",), ("failure", "list"), ("checkpoint", "list"),
    ):  # fmt: skip
        ended.append(rollback(shop.folder, *words, **environ))
    files = written(shop)
    assert {".rollback/declaration.json", ".rollback/runs/r0001/declaration.json",
            ".rollback/runs/r0001/report.md", "left/junit/smoke.xml"} <= {*files}  # fmt: skip
    assert any(name.endswith("/input.json") for name in files)
    assert any("loud" in text.decode(errors="replace") for name, text in files.items()
               if "allure-results" in name)  # fmt: skip
    assert hits(files) == []
    assert hits(said(ended)) == []
    modes = {name: stat.S_IMODE((shop.folder / name).lstat().st_mode) for name in files
             if name.startswith(".rollback/") and not name.endswith(".gitignore")}  # fmt: skip
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}


@pytest.mark.parametrize("lost", [None, BY_PLACE])
def test_a_run_goes_on_with_its_declaration_and_the_secrets_of_now(
    shop: Shop, port: int, lost: str | None
) -> None:
    """They are asked where they are, like any reference; one that is not there is named."""
    with opened(shop, known(port)) as site:
        site.keep_declaration("r0001")
        before = site.system.digest
    shop.edit("title: Shop", "title: Another")
    now = known(port, **{BY_NAME: "a-new-value-of-it"})
    if lost:
        del now[lost]
    source = json.loads((shop.folder / ".rollback/runs/r0001/declaration.json").read_text())

    def again() -> System:
        return declare.from_source(source, declaration=shop.folder / "rollback.yaml",
                                   state=shop.folder / ".rollback", environ=now)  # fmt: skip

    if lost:
        with pytest.raises(SpecError, match=r"\$\{REACH\} has no value"):
            again()
        return
    found = again()
    assert (found.digest, found.system.title) == (before, "Shop")
    shielded = found.verification.smoke[0]
    assert shielded.url.endswith("?key=a-new-value-of-it")  # type: ignore[attr-defined]
    assert shielded.headers["Authorization"] == "Bearer " + SECRETS[BY_PLACE]  # type: ignore[attr-defined]
    assert found.kept() == source


def test_a_plan_that_says_a_secret_and_a_problem_with_one_do_not_repeat_it(
    shop: Shop, port: int
) -> None:
    """Refused before anything is written: by the run, and by whoever reads the declaration."""
    shop.edit("title: Settings back", f'title: "Settings back, ${{{BY_WORD}}}"')
    environ = known(port)
    ended = [rollback(shop.folder, "checkpoint", "create", "good", **environ)]
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    ended += [rollback(shop.folder, "run", "config", "--as", "ada", "--yes", **environ)]  # fmt: skip
    assert "holds the value of a secret" in ended[1].err
    shop.edit(f"t=${{{BY_WORD}}}", f"t= ${{{BY_WORD}}}")
    ended += [
        rollback(shop.folder, *words, **environ) for words in (("validate",), ("status", "--json"))
    ]
    assert "holds a space" in ended[2].out + ended[2].err
    assert hits(written(shop)) == []
    assert hits(said(ended)) == []


def test_the_policy_is_another_one_when_a_secret_in_it_changes(shop: Shop, port: int) -> None:
    """A check that a run waits for is pinned whole; what changed is shown, and not the values."""
    line = "    data_loss: settings since the checkpoint\n"
    shop.edit(line, line + "    prerequisites: [{check: shielded}]\n")
    with opened(shop, known(port)) as site:
        site.trusted()
        before = site.system
    with opened(shop, known(port)) as site:
        site.trusted()
        assert (site.system.digest, site.system.authority_digest) == (
            before.digest,
            before.authority_digest,
        )
    for name in SECRETS:
        other = known(port, **{name: "another-value-of-it"})
        with opened(shop, other) as site:
            assert site.system.digest != before.digest
            pinned = name == BY_WORD  # it stands in no such check
            assert (site.system.authority_digest == before.authority_digest) is pinned
            if not pinned:
                with pytest.raises(NotAuthorized, match="checks before a start changed"):
                    site.trusted()
                changed = str(trust.changes(site.system, site.state.tree, site.hidden))
                assert hits({"changes": changed.encode()}) == []
                assert "another-value-of-it" not in changed


def test_what_stands_for_a_secret_cannot_be_guessed(shop: Shop, port: int) -> None:
    """Two state directories say another thing of the same secret, and each always the same."""
    digests = set()
    for state in (".rollback", "another"):
        for _ in range(2):
            system = declare.load(
                shop.folder / "rollback.yaml", state=shop.folder / state, environ=known(port)
            )
            with Site.open(system, Host()):
                digests.add(system.digest)
        key = shop.folder / state / "key"
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(digests) == 2


def test_without_a_secret_there_is_no_key(tmp_path: Path) -> None:
    """And the digest is that of the declaration, anywhere."""
    made = build(tmp_path)
    with made.site() as site:
        assert site.system.digest == digest(site.system.source, domain="declaration")
    assert not (tmp_path / ".rollback" / "key").exists()
