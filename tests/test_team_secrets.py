"""What a team's own test says, shows and is called holds no secret, wherever it is written down."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.program import rollback
from tests.prove.conftest import Little
from tests.systems import Shop, build, environment

SECRET = 'hunter2 & <the>"tenth" ßecret'
OTHER = "correct-horse-battery"
REFERRED = (
    "s3cr3t-by-reference-only"  # its name is no variable of the declaration: the child never had it
)
HELD = "grandmothers-recipe"
ROOT = Path(__file__).parent.parent
PATH = "verification/smoke/test_team.py"
TEST = """
import json
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import allure
import pytest

SECRET = os.environ["SHOP_TOKEN"]
REFERRED = Path("REFERRED").read_text()
logging.getLogger().setLevel(logging.INFO)


def deep(text):
    try:
        raise ValueError("below: " + text)
    except ValueError as error:
        raise RuntimeError("above: " + text) from error


@pytest.fixture
def broken():
    raise OSError("set up with " + SECRET)


@pytest.mark.parametrize("given", [SECRET, SECRET + "!", SECRET, REFERRED], ids=str)
def test_parameters(given, record_property):
    record_property("seen", given)
    assert given == "something else", "said: " + given


@pytest.mark.parametrize("given", [SECRET, os.environ["SHOP_PASSWORD"]], ids=str)
def test_two(given):
    assert given


@pytest.mark.parametrize("password", ["HELD"])
def test_named(password):
    pass


@pytest.mark.parametrize("text", [SECRET, REFERRED])
def test_chain(text):
    print("printed", text)
    print("printed to the other", text, file=sys.stderr)
    logging.info("logged %s", text)
    warnings.warn("warned of " + text)
    deep(text)


@pytest.mark.parametrize("text", [SECRET, REFERRED])
def test_attached(text, tmp_path):
    (tmp_path / "left.txt").write_text(text)
    allure.attach(text, "called " + text, allure.attachment_type.TEXT)
    allure.attach(json.dumps({"api_key": "HELD", "a": [text]}), "doc", allure.attachment_type.JSON)
    allure.attach.file(tmp_path / "left.txt")
    allure.dynamic.description("described " + text)
    allure.dynamic.link("https://user:" + "HELD" + "@example.org/", name=text)
    with allure.step("step " + text):
        pass


def test_set_up(broken):
    pass


@pytest.mark.parametrize("text", [SECRET])
def test_subtests(text, subtests):
    with subtests.test("called " + text, given=text):
        assert not text
"""


@pytest.fixture
def little(tmp_path: Path) -> Little:
    return Little(tmp_path / "little")


def leaking(folder: Path) -> Shop:
    """A shop whose team's test says two secrets in every way that a test has."""
    made = build(folder / "shop")
    (folder / "referred").write_text(REFERRED)
    text = TEST.replace('"REFERRED"', repr(str(folder / "referred"))).replace("HELD", HELD)
    file = made.folder / PATH
    file.parent.mkdir(parents=True)
    file.write_text(text)
    pin = hashlib.sha256(text.encode()).hexdigest()
    variables = "environment: {variables: {SHOP_TOKEN: {}, SHOP_PASSWORD: {}}}\n"
    made.edit("verification:\n", f"{variables}verification:\n"
              f"  suites: [{{path: {PATH}, sha256: {pin}}}]\n")  # fmt: skip
    made.edit("op: {title: Operator}", 'op: {title: Operator, contact: "env:PAGER"}')
    return made


def everything(folder: Path) -> dict[str, str]:
    """Every file below, by path, but for what the test itself is and was told."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "test_team.py"]
    return {str(path): path.read_bytes().decode("utf-8", "replace") for path in files}


def by_hand(shop: Shop, results: Path) -> str:
    """What `pytest verification` shows, and leaves where it is told to."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(shop.folder / "verification"), "-m", "smoke", "-rA",
         "--system", str(shop.folder / "rollback.yaml"), "--alluredir", str(results / "by-hand"),
         "-W", "default", "-p", "rollback.prove.plugin", "-p", "no:cacheprovider",
         "--junitxml", str(results / "by-hand.xml"),
         "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(shop.folder)],
        cwd=ROOT, env=environment(), text=True, capture_output=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_no_secret_that_a_teams_test_says_is_in_anything_that_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Message, chain, output, log, warning, parameter, attachment, step, link, property: none of them.

    Neither in verdict, Allure, JUnit, journal and report, nor on a terminal.
    """
    monkeypatch.setenv("SHOP_TOKEN", SECRET)
    monkeypatch.setenv("SHOP_PASSWORD", OTHER)
    monkeypatch.setenv("PAGER", REFERRED)
    shop = leaking(tmp_path)
    with shop.site() as site:
        site.checkpoints.create("before")
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    ran = rollback(shop.folder, "run", "config", "--as", "ada", "--yes", "--reason", "it is loud")
    told = {
        "run": ran.out + ran.err,
        **{" ".join(words): "".join((done := rollback(shop.folder, *words)).out + done.err)
           for words in (("report",), ("report", "--json"), ("status",), ("history", "r0001", "--json"),
                         ("verify", "smoke", "--results", "left"), ("verify", "smoke", "--json"))},
        "by hand": by_hand(shop, tmp_path / "results"),
        **everything(shop.folder / ".rollback"), **everything(shop.folder / "left"),
        **everything(tmp_path / "results"),
    }  # fmt: skip
    secrets = (SECRET, json.dumps(SECRET)[1:-1], OTHER, REFERRED, HELD)
    hits = [(name, one) for name, text in told.items() for one in secrets if one in text]
    assert hits == []
    assert "NOT VERIFIED" in told["by hand"]
    assert "warned of ***REDACTED***" in told["by hand"]
    kinds = {Path(name).suffix for name in told if "/runs/r0001/" in name}
    assert {".json", ".xml", ".txt", ".md"} <= kinds  # all of them were written
    assert sum("REDACTED" in text for text in told.values()) > 20
    verdicts = [text for name, text in told.items() if name.endswith("verdict.json")]
    nodes = [one["nodeid"] for text in verdicts for one in json.loads(text)["tests"]]
    named = sorted(one.rpartition("::")[2] for one in nodes if "test_two" in one)
    assert named == ["test_two[***REDACTED***]", "test_two[***REDACTED***]#2"]  # they stay two


def test_a_tests_key_is_no_secret_and_its_password_is(little: Little, tmp_path: Path) -> None:
    """A password is one wherever it is said; a key of a setting is an ordinary word."""
    little.team("verification/smoke/test_team.py", """
import pytest
@pytest.mark.parametrize(("key", "password"), [("limits", "staple-battery")])
def test_a(key, password):
    assert not key, f"limits are broken by staple-battery"
""")  # fmt: skip
    (reason, *_) = little.run(leaves=tmp_path).reasons
    assert "test_a[limits-***REDACTED***]" in reason
    assert "limits are broken by ***REDACTED***" in reason


def test_a_suite_that_dies_has_left_no_secret_either(
    little: Little, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it attached is written at once, and is searched at once."""
    monkeypatch.setenv("SHOP_TOKEN", SECRET)
    little.extra = "environment: {variables: {SHOP_TOKEN: {}}}\n"
    little.team("verification/smoke/test_team.py", """
import allure, os
def test_a():
    allure.attach("says " + os.environ["SHOP_TOKEN"], "it")
    print(os.environ["SHOP_TOKEN"], flush=True)
    os.kill(os.getpid(), 9)
""")  # fmt: skip
    result = little.run(leaves=tmp_path)
    assert not result.open
    assert "REDACTED" in "".join(everything(tmp_path / "allure-results").values())
    left = {**everything(tmp_path), "output": result.output, "reasons": str(result.reasons)}
    assert [name for name, text in left.items() if SECRET in text] == []
