"""The six declared systems: they load, say what is missing, and the schema knows them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from rollback.declare import load, schema
from rollback.declare.text import read
from rollback.kinds import load_all
from rollback.model.registry import kinds
from rollback.model.system import System

load_all()
ROOT = Path(__file__).resolve().parents[2]
NAMES = ("ai_workflow", "mother_box", "party_mode", "quantum_lattice", "studio", "vrooli")
PREFIXES = {
    "ai_workflow": "AW",
    "mother_box": "MB",
    "party_mode": "PM",
    "quantum_lattice": "QL",
    "vrooli": "VR",
}
COUNTS = {"AW": 78, "MB": 78, "PM": 92, "QL": 67, "VR": 47}
REFRESH = (
    'python -c "import json, rollback.kinds, rollback.declare as d; '
    'print(json.dumps(d.schema(), indent=1, ensure_ascii=False))" > docs/rollback.schema.json'
)


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def file_of(name: str) -> Path:
    return ROOT / "systems" / f"{name}.yaml"


def planned_in(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "planned" and isinstance(inner, dict):
                yield ".".join(path), inner
            else:
                yield from planned_in(inner, (*path, str(key)))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from planned_in(inner, (*path, str(index)))


def test_every_system_loads(name: str) -> None:
    system = load(file_of(name), environ={})
    assert isinstance(system, System)
    assert system.levels


def test_what_is_planned_says_what_is_missing(name: str) -> None:
    for path, planned in planned_in(read(file_of(name).read_text(), name).data):
        assert len(planned["missing"]) >= 8, path
        assert planned["kind"], path


FAMILIES = (
    (r"\.source$", "metric"), (r"^notify\.channels\.", "notifier"), (r"^verification\.", "check"),
    (r"\.steps\.\d+", "action"),
)  # fmt: skip


def test_what_is_planned_is_not_built_by_now(name: str) -> None:
    """A kind that its family has is declared as what it is, not as planned."""
    for path, planned in planned_in(read(file_of(name).read_text(), name).data):
        (family,) = [family for pattern, family in FAMILIES if re.search(pattern, path)]
        assert planned["kind"] not in kinds(family), f"{path} is built"
        manager = re.search(r"the service manager (\w+)", planned["missing"])
        assert manager is None or manager[1] not in kinds("service"), f"{path}: it is built"


def test_the_demo_system_has_nothing_planned() -> None:
    assert not list(planned_in(read(file_of("studio").read_text(), "studio").data))


def test_the_page_of_planned_kinds_is_current() -> None:
    assert (ROOT / "docs" / "planned.md").read_text() == planned_page()


def planned_page() -> str:
    lines = [
        "# Planned kinds",
        "",
        "What the declared systems name and this version cannot run yet. A plan that needs one of",
        "these is refused, with the sentence that stands here.",
        "",
        "| kind | system | missing |",
        "|---|---|---|",
    ]
    rows = set()
    for name in NAMES:
        for _, planned in planned_in(read(file_of(name).read_text(), name).data):
            rows.add((planned["kind"], name, planned["missing"]))
    lines += [f"| `{kind}` | {name} | {missing} |" for kind, name, missing in sorted(rows)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", sorted(PREFIXES))
def test_most_demands_of_a_system_are_named_beside_what_states_them(name: str) -> None:
    text, prefix = file_of(name).read_text(), PREFIXES[name]
    found = {int(n) for n in re.findall(rf"{prefix}-(\d\d)\b", text)}
    for first, last in re.findall(rf"{prefix}-(\d\d)\.\.{prefix}-(\d\d)", text):
        found |= set(range(int(first), int(last) + 1))
    assert found <= set(range(1, COUNTS[prefix] + 1))
    assert len(found) >= 0.85 * COUNTS[prefix], sorted(set(range(1, COUNTS[prefix] + 1)) - found)


def test_the_schema_is_a_schema_and_knows_every_system(name: str) -> None:
    written = schema()
    jsonschema.Draft202012Validator.check_schema(written)
    data = read(file_of(name).read_text(), name).data
    errors = list(jsonschema.Draft202012Validator(written).iter_errors(data))
    assert not errors, [(list(e.absolute_path), e.message[:200]) for e in errors[:3]]


def test_the_schema_refuses_what_the_loader_refuses() -> None:
    data = read(file_of("studio").read_text(), "studio").data
    data["levels"]["flag"]["rnak"] = 1
    assert list(jsonschema.Draft202012Validator(schema()).iter_errors(data))


def test_the_shipped_schema_is_current() -> None:
    shipped = json.loads((ROOT / "docs" / "rollback.schema.json").read_text())
    assert shipped == schema(), f"write it anew: {REFRESH}"
