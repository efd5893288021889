"""Editing one value: what was written before and after it stays, to the byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback.declare.edit import MISSING, REMOVE, drop_lines, get, splice
from rollback.model.errors import UsageError

KEYS = st.sampled_from(
    ["alpha", "beta", "gamma", "on-call", "x1", "key with space", "héllo", "a.b"]
)
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.sampled_from(
        [
            "",
            "yes",
            "off",
            "null",
            "1e3",
            "012",
            "a: b",
            "# no",
            "it's",
            '"q"',
            "- x",
            "{x}",
            "日本",
            "tab\there",
            "line\nend",
            "back\\slash",
            "trailing ",
            " leading",
            "*a",
            "&a",
            "!t",
            "%x",
            "@",
        ]
    ),
    st.text(max_size=12).filter(lambda s: all(0xD800 > ord(c) or ord(c) > 0xDFFF for c in s)),
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.dictionaries(KEYS, inner, min_size=1, max_size=4),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=12,
)
MAPS = st.dictionaries(KEYS, DOCUMENTS, min_size=1, max_size=5)
COMMENTS = st.sampled_from(["", "  # why", " # {not: a map}", "\t# tab"])


def scalar_yaml(value: Any) -> str:
    if isinstance(value, str):
        odd = "".join(
            c if " " <= c <= "~" and c not in '"\\' else f"\\U{ord(c):08x}" for c in value
        )
        return f'"{odd}"'
    return json.dumps(value)


def block(value: Any, indent: int, comment: str) -> str:
    """`value` as block YAML with a comment on every line."""
    pad = "  " * indent
    if isinstance(value, dict):
        text = ""
        for key, inner in value.items():
            if isinstance(inner, (dict, list)) and inner:
                text += f"{pad}{scalar_yaml(key)}:{comment}\n{block(inner, indent + 1, comment)}"
            else:
                text += f"{pad}{scalar_yaml(key)}: {scalar_yaml(inner)}{comment}\n"
        return text
    if isinstance(value, list):
        text = ""
        for inner in value:
            text += f"{pad}- {flow(inner)}{comment}\n"
        return text
    raise AssertionError


def flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar_yaml(k)}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(one) for one in value) + "]"
    return scalar_yaml(value)


def paths(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every scalar that can be named by keys."""
    if isinstance(value, dict):
        return [p for key, inner in value.items() for p in paths(inner, (*path, key))]
    return [] if isinstance(value, list) else [path]


def pointer(path: tuple[str, ...]) -> str:
    return "/" + "/".join(part.replace("~", "~0").replace("/", "~1") for part in path)


def at(value: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        value = value[part]
    return value


def one_place_differs(before: bytes, after: bytes, old: str, new_max: int) -> None:
    """`after` is `before` with one stretch exchanged, and that stretch is the old value."""
    front = 0
    while front < min(len(before), len(after)) and before[front] == after[front]:
        front += 1
    back = 0
    while back < min(len(before), len(after)) - front and before[-1 - back] == after[-1 - back]:
        back += 1
    assert len(before) - front - back <= len(old.encode())
    assert len(after) - front - back <= new_max


@given(MAPS, SCALARS, COMMENTS, st.data(), st.sampled_from(["\n", "\r\n"]))
def test_yaml_changes_one_value_and_no_other_byte(
    document: dict[str, Any], value: Any, comment: str, data: st.DataObject, newline: str
) -> None:
    named = paths(document)
    if not named:
        return
    path = data.draw(st.sampled_from(named))
    text = ("# head\n\n" + block(document, 0, comment) + "# tail\n").replace("\n", newline)
    before = text.encode()
    assert get(before, "yaml", pointer(path)) == at(document, path)
    after = splice(before, "yaml", pointer(path), value)
    assert get(after, "yaml", pointer(path)) == value
    old = scalar_yaml(at(document, path))
    one_place_differs(before, after, old, 10 * len(json.dumps(value)) + 2)
    assert splice(after, "yaml", pointer(path), value) == after


@pytest.mark.parametrize(
    "number", ["0.00021629965340252966", "0.1", "1.7976931348623157", "5e-324"]
)
def test_every_digit_that_a_number_may_have_is_read(number: str) -> None:
    """A number as Python and JSON write it is a number, however long its fraction."""
    assert get(f"alpha: {number}\n".encode(), "yaml", "/alpha") == float(number)


@given(MAPS, SCALARS, st.data(), st.sampled_from([None, 1, 4, "\t"]))
def test_json_changes_one_value_and_no_other_byte(
    document: dict[str, Any], value: Any, data: st.DataObject, indent: Any
) -> None:
    named = paths(document)
    if not named:
        return
    path = data.draw(st.sampled_from(named))
    before = json.dumps(document, indent=indent).encode()
    after = splice(before, "json", pointer(path), value)
    expected = json.loads(before)
    at(expected, path[:-1])[path[-1]] = value
    assert json.loads(after) == expected
    assert list(json.loads(after)) == list(expected)
    one_place_differs(before, after, json.dumps(at(document, path)), len(json.dumps(value)) + 2)


@given(MAPS, st.data(), st.sampled_from([None, 2]))
def test_json_takes_one_value_out_and_keeps_the_rest(
    document: dict[str, Any], data: st.DataObject, indent: Any
) -> None:
    named = paths(document)
    if not named:
        return
    path = data.draw(st.sampled_from(named))
    after = splice(json.dumps(document, indent=indent).encode(), "json", pointer(path), REMOVE)
    expected = json.loads(json.dumps(document))
    del at(expected, path[:-1])[path[-1]]
    assert json.loads(after) == expected


@given(
    st.dictionaries(
        st.sampled_from(["A", "B_2", "PATH", "_x", "LONG_NAME"]),
        st.text("abc ='\"$#\\`é/.:-", max_size=10),
        max_size=5,
    ),
    st.text("abc ='\"$#\\`é/.:-", max_size=12),
    st.sampled_from(["A", "B_2", "NEW"]),
    st.booleans(),
    st.booleans(),
)
def test_an_env_file_changes_one_variable_and_no_other_byte(
    variables: dict[str, str], value: str, name: str, export: bool, ended: bool
) -> None:
    text = "# head\n"
    for key, old in variables.items():
        quoted = '"' + "".join("\\" + c if c in '\\"$`' else c for c in old) + '"'
        text += f"{'export ' if export else ''}{key}={quoted}  # {key}=not this\n"
    text = text if ended else text.rstrip("\n")
    before = text.encode()
    after = splice(before, "env", name, value)
    assert get(after, "env", name) == value
    for key, old in variables.items():
        if key != name:
            assert get(after, "env", key) == old
    if name in variables:
        lines = list(zip(before.splitlines(), after.splitlines(), strict=True))
        assert sum(1 for one, other in lines if one != other) <= 1
        assert splice(before, "env", name, REMOVE).count(b"\n") == before.count(b"\n") - (
            1 if before.splitlines()[-1].split(b"=")[0].split()[-1] != name.encode() or ended else 0
        )
    else:
        assert after.startswith(before)


YAML = b"""# top
party:
  enabled: true # keep
  max: 3
other: {enabled: true, list: [1, 2]} # too
empty:
text: |
  one
  two
anchored: &a 5
alias: *a
items:
  - enabled: true
    name: x
"""


@pytest.mark.parametrize(
    ("key", "value", "old", "new"),
    [
        ("party.enabled", False, b"  enabled: true # keep", b"  enabled: false # keep"),
        ("party.max", "yes", b"max: 3", b'max: "yes"'),
        ("other.enabled", False, b"{enabled: true, list", b"{enabled: false, list"),
        ("other.list", [3], b"[1, 2]", b"[3]"),
        ("empty", 5, b"empty:\n", b"empty: 5\n"),
        ("text", "x", b"text: |\n  one\n  two\n", b'text: "x"\n'),
        ("items.0.enabled", False, b"- enabled: true", b"- enabled: false"),
        ("party.enabled", REMOVE, b"  enabled: true # keep\n", b""),
        ("other.enabled", REMOVE, b"{enabled: true, list", b"{list"),
        ("other.list", REMOVE, b", list: [1, 2]}", b"}"),
        ("party.new", 1, b"  max: 3\n", b"  max: 3\n  new: 1\n"),
        ("other.new", 1, b"[1, 2]}", b"[1, 2], new: 1}"),
    ],
)
def test_yaml_as_people_write_it(key: str, value: Any, old: bytes, new: bytes) -> None:
    assert YAML.count(old) == 1
    assert splice(YAML, "yaml", key, value) == YAML.replace(old, new)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("party", 1),
        ("anchored", 6),
        ("alias", 6),
        ("nope.deeper", 1),
        ("items", REMOVE),
        ("", 1),
        ("a..b", 1),
    ],
)
def test_what_cannot_be_changed_alone_is_refused(key: str, value: Any) -> None:
    if key == "items":
        splice(YAML, "yaml", key, value)  # a whole block can go
        return
    with pytest.raises(UsageError) as caught:
        splice(YAML, "yaml", key, value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("data", "format_", "key"),
    [
        (b"a: 1\na: 2\n", "yaml", "a"),
        (b"A=1\nexport A=2\n", "env", "A"),
        (b'{"a": 1, "a": 2}', "json", "a"),
    ],
)
def test_a_key_written_twice_is_refused(data: bytes, format_: Any, key: str) -> None:
    with pytest.raises(UsageError, match="twice"):
        splice(data, format_, key, "3")


@pytest.mark.parametrize(
    ("data", "format_"),
    [
        (b"\xff", "yaml"),
        (b"a: [", "yaml"),
        (b"{", "json"),
        (b"[1] 2", "json"),
        (b'A="x\n', "env"),
        (b"a: 1\n---\nb: 2\n", "yaml"),
    ],
)
def test_a_broken_file_is_refused_in_words(data: bytes, format_: Any) -> None:
    with pytest.raises(UsageError):
        splice(data, format_, "A", "3")


def test_what_is_missing_is_missing() -> None:
    assert get(YAML, "yaml", "party.nope") is MISSING
    assert get(b"A=1\n", "env", "B") is MISSING
    assert get(b"{}", "json", "a") is MISSING
    assert splice(YAML, "yaml", "party.nope", REMOVE) == YAML


def test_a_byte_order_mark_stays() -> None:
    assert splice(b"\xef\xbb\xbfa: 1\n", "yaml", "a", 2) == b"\xef\xbb\xbfa: 2\n"


def test_lines_that_match_go_and_the_others_stay() -> None:
    data = b"one\nParty Mode is here\r\ntwo\nparty mode\nlast"
    assert drop_lines(data, "(?i)party mode") == b"one\ntwo\nlast"
    with pytest.raises(UsageError):
        drop_lines(data, "(")


def test_a_value_with_a_line_end_never_reaches_an_env_file() -> None:
    with pytest.raises(UsageError):
        splice(b"A=1\n", "env", "A", "1\nB=2")


NESTED = b"outer:\n  keep: 1\n  inner:\n    a: 1\n\n# tail\nnext: 2\n"


def test_a_key_is_added_before_the_comment_that_belongs_to_what_follows() -> None:
    added = splice(NESTED, "yaml", "outer.new", 1)
    assert added == NESTED.replace(b"    a: 1\n", b"    a: 1\n  new: 1\n")


def test_a_map_is_taken_out_without_the_comment_that_belongs_to_what_follows() -> None:
    assert splice(NESTED, "yaml", "outer.inner", REMOVE) == NESTED.replace(
        b"  inner:\n    a: 1\n", b""
    )
