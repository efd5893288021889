"""The verdict file: exactly one spelling is read; everything else is no verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rollback.host import Host
from rollback.prove import verdict as verdicts
from rollback.prove.verdict import Asked, NoVerdict, Outcome, Verdict

WHOLE = Verdict(
    format=1, nonce="n", suite="smoke", declaration="d", exit_status=0, collected=("a",),
    selected=("a",), collect_problems=(), files={"x.py": "0"}, left_behind=(),
    tests=(Outcome(nodeid="a", setup="passed", call="passed", teardown="passed", duration_s=0.5,
                   asked=Asked(id="one", expected="pass", answer="pass", evidence="é\n",
                               fingerprint="f", samples={"ms": (1.0, 2.5)})),),
)  # fmt: skip
BYTES = json.dumps(WHOLE.model_dump(mode="json"), separators=(",", ":")).encode()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Round trip, through a real file."""
    verdicts.write(tmp_path / "verdict.json", WHOLE, Host())
    assert verdicts.read(tmp_path / "verdict.json", Host()) == WHOLE
    assert [path.name for path in tmp_path.iterdir()] == ["verdict.json"]


def test_no_file_is_no_verdict(tmp_path: Path) -> None:
    """Absence is not an answer."""
    with pytest.raises(NoVerdict, match="without a verdict"):
        verdicts.read(tmp_path / "verdict.json", Host())


def test_a_verdict_cut_anywhere_is_none() -> None:
    """Half-written at every length."""
    for length in range(len(BYTES)):
        with pytest.raises(NoVerdict):
            verdicts.parse(BYTES[:length])


def _with(**changes: Any) -> bytes:
    return json.dumps({**json.loads(BYTES), **changes}).encode()


def _test(**changes: Any) -> bytes:
    value = json.loads(BYTES)
    value["tests"][0].update(changes)
    return json.dumps(value).encode()


WRONG = {
    "empty": b"", "null": b"null", "list": b"[]", "number": b"1", "deep": b"[" * 100_000,
    "not utf-8": b"\xff" + BYTES, "trailing": BYTES + b"x", "two": BYTES + BYTES,
    "unknown key": _with(verified=True), "missing key": BYTES.replace(b'"nonce":"n",', b""),
    "key twice": BYTES.replace(b'"nonce":"n"', b'"nonce":"m","nonce":"n"'),
    "newer format": _with(format=2), "format as text": _with(format="1"), "format true": _with(format=True),
    "status as text": _with(exit_status="0"), "status false": _with(exit_status=False),
    "status as fraction": _with(exit_status=0.0), "nonce null": _with(nonce=None),
    "tests null": _with(tests=None), "tests a map": _with(tests={}), "selected a text": _with(selected="a"),
    "NaN": _test(duration_s=float("nan")), "infinite": _test(duration_s=float("inf")),
    "1e999": BYTES.replace(b'"duration_s":0.5', b'"duration_s":1e999'),
    "negative": _test(duration_s=-1.0), "duration true": _test(duration_s=True),
    "a year": _test(duration_s=4e7), "phase": _test(call="ok"), "phase true": _test(call=True),
    "answer": _test(asked={**json.loads(BYTES)["tests"][0]["asked"], "answer": "PASS"}),
}  # fmt: skip


OTHERS: dict[str, Any] = {"null": None, "a number": 7, "a list of lists": [[1]], "true": True,
                          "a map": {"x": {}}, "a text": "é\0"}  # fmt: skip
FITS = {
    ("nonce", "a text"),
    ("suite", "a text"),
    ("declaration", "a text"),
    ("exit_status", "a number"),
}


def bad_reports() -> dict[str, bytes]:
    """Each key of a report left out, written twice, and of every other type; of its test too."""
    found = {}
    for key, value in json.loads(BYTES).items():
        rest = {name: one for name, one in json.loads(BYTES).items() if name != key}
        again = f'"{key}":{json.dumps(value)}'.encode()
        found[f"{key} left out"] = json.dumps(rest).encode()
        found[f"{key} twice"] = BYTES[:-1] + b"," + again + b"}"
        for name, other in OTHERS.items():
            if (key, name) not in FITS:
                found[f"{key} is {name}"] = _with(**{key: other})
    for key in ("nodeid", "setup", "oddities", "duration_s", "asked"):
        for name, other in OTHERS.items():
            if (key, name) not in {
                ("nodeid", "a text"),
                ("asked", "null"),
                ("duration_s", "a number"),
            }:
                found[f"{key} of a test is {name}"] = _test(**{key: other})
    return found


def test_bad_reports_of_every_kind_are_none() -> None:
    """One key changed at a time; the reason is one line that a person can read."""
    reports = {**bad_reports(), **WRONG}
    assert len(reports) >= 140
    for how, data in reports.items():
        with pytest.raises(NoVerdict) as caught:
            verdicts.parse(data)
        said = str(caught.value)
        assert said.startswith("the verdict is malformed: "), (how, said)
        assert "\n" not in said, how


@pytest.mark.parametrize("how", WRONG)
def test_what_is_not_exactly_a_verdict_is_none(how: str) -> None:
    """Strict: no coercion, no unknown keys, no second spelling."""
    with pytest.raises(NoVerdict):
        verdicts.parse(WRONG[how])


def test_a_phase_that_did_not_run_is_not_plain() -> None:
    """Only three passed phases and nothing odd are a plain pass."""
    test = WHOLE.tests[0]
    assert test.plain
    assert not test.model_copy(update={"teardown": ""}).plain
    assert not test.model_copy(update={"oddities": ("skipped",)}).plain
