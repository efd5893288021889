"""The transaction log: what it says for good is what comes back, and nothing that it does not say."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rollback.host import Host, database
from rollback.keep.transaction_log import read
from rollback.model.component import TransactionLog

DECLARED = TransactionLog.model_validate({
    "path": "log.jsonl", "table": "work",
    "fields": {"transaction": "tx", "sequence": "n"},
})  # fmt: skip


def logged(*records: dict[str, Any], tail: bytes = b"") -> bytes:
    lines = [json.dumps({"n": number, **record}) for number, record in enumerate(records, 1)]
    return "".join(line + "\n" for line in lines).encode() + tail


def whys(data: bytes) -> list[str]:
    return [one.why for one in read([data], DECLARED).left_out]


def test_only_what_was_committed_counts() -> None:
    """Changes stand in the order of commits; an aborted transaction leaves no trace."""
    found = read([logged(
        {"op": "begin", "tx": 1}, {"op": "set", "tx": 1, "key": "a", "value": 1},
        {"op": "set", "key": "b", "value": 2}, {"op": "set", "tx": 2, "key": "a", "value": 3},
        {"op": "commit", "tx": 2}, {"op": "commit", "tx": 1},
        {"op": "delete", "tx": 3, "key": "b"}, {"op": "abort", "tx": 3},
    )], DECLARED)  # fmt: skip
    assert [(one.key, one.value) for one in found.changes] == [("b", 2), ("a", 3), ("a", 1)]
    assert found.left_out == ()
    assert found.transactions == 3


def test_what_cannot_be_said_is_listed_with_its_line() -> None:
    """Open, torn, missing, twice, unknown, nameless: each is named, none is applied."""
    data = logged({"op": "set", "tx": 9, "key": "a", "value": 1})
    data += b'{"n": 4, "op": "set", "key": "b", "value": 2}\n'
    data += b'{"n": 4, "op": "set", "key": "b", "value": 7}\n'
    data += b'{"n": 5, "op": "rename", "key": "b"}\n{"n": 6, "op": "set", "value": 1}\n'
    data += b'{"n": 7, "op": "set", "key": "c"}\n\0\0\0\n{"op": "set"}\n{"n": 8, "op": "commit"}\n'
    data += b'{"n": 9, "op": "set", "key": "d", "val'
    found = read([data[at : at + 7] for at in range(0, len(data), 7)], DECLARED)
    assert [(one.key, one.value) for one in found.changes] == [("b", 2)]
    assert [(one.line, one.why) for one in found.left_out] == [
        (1, "transaction 9 is open"),
        (1, "of the open transaction 9"),
        (2, "records are missing before it: n 2 to 3"),
        (3, "n 4 came before"),
        (4, "nobody declared what 'rename' means"),
        (5, "it names no key"),
        (6, "it has no value"),
        (7, "it is no record"),
        (8, "its n is no number"),
        (9, "commit of no transaction"),
        (10, "the last line is torn"),
    ]


def test_a_last_line_that_is_whole_but_for_its_end_counts() -> None:
    """An object that closes is no beginning of another one."""
    assert whys(logged(tail=b'{"n": 1, "op": "set", "key": "a", "value": 1}')) == []


def test_own_words_and_fields_are_understood() -> None:
    """As another product writes them."""
    declared = TransactionLog.model_validate({
        "path": "x", "fields": {"kind": "event", "key": "id", "value": "row", "table": "of"},
        "words": {"set": ["INSERT", "UPDATE"], "delete": ["DELETE"]},
    })  # fmt: skip
    data = b'{"event":"INSERT","id":1,"row":{"a":1},"of":"t"}\n{"event":"DELETE","id":1,"of":"t"}\n'
    found = read([data], declared)
    assert [(one.table, one.key, one.gone) for one in found.changes] == [
        ("t", "1", False), ("t", "1", True),
    ]  # fmt: skip
    assert found.left_out == ()


KEYS = st.integers(1, 6)
VALUES = st.fixed_dictionaries({"state": st.sampled_from(["open", "done", None]),
                                "text": st.text(max_size=5)})  # fmt: skip
CHANGES = st.lists(st.one_of(st.tuples(st.just("set"), KEYS, VALUES),
                             st.tuples(st.just("delete"), KEYS, st.none())), max_size=5)  # fmt: skip
HISTORY = st.lists(st.tuples(CHANGES, st.sampled_from(["commit", "abort", "open"])), max_size=12)


@pytest.mark.requirement("MB-49", "MB-64")
@settings(max_examples=60, deadline=None)
@example(  # the tear ends with the brace of a value, not of the record
    history=[([("set", 1, {"state": "open", "text": ""})], "open")], cut=1, shuffle=random.Random(1)
)
@given(history=HISTORY, cut=st.integers(0, 60), shuffle=st.randoms(use_true_random=False))
def test_random_changes_logged_and_rebuilt_are_the_very_same_state(
    tmp_path_factory: pytest.TempPathFactory, history: Any, cut: int, shuffle: Any
) -> None:
    """A real database is changed as the log says; then another one is made of the log alone.

    Transactions interleave; some never end; the last line is torn. Both states are equal row by
    row, and what is left out is exactly what never ended.
    """
    folder = tmp_path_factory.mktemp("log")
    lived, made = folder / "lived.db", folder / "made.db"
    records: list[dict[str, Any]] = []
    waiting = [
        [{"op": "begin", "tx": tx}]
        + [{"op": op, "tx": tx, "key": key, "value": value} for op, key, value in changes]
        + ([{"op": end, "tx": tx}] if end != "open" else [])
        for tx, (changes, end) in enumerate(history)
    ]
    while any(waiting):
        records.append(shuffle.choice([one for one in waiting if one]).pop(0))
    data = logged(*records)
    torn = data[: max(0, len(data) - cut)] if cut % 2 else data
    whole = torn[: torn.rfind(b"\n") + 1]
    seen = [json.loads(line) for line in whole.splitlines()]
    torn_off = torn[len(whole) :]
    with suppress(ValueError):  # a last line counts when all but its end is there
        seen.append(json.loads(torn_off))
        torn_off = b""

    held: dict[int, list[Any]] = {}
    with closing(sqlite3.connect(lived)) as db:
        db.execute("create table work (id integer primary key, state text, text text)")
        for record in seen:  # the witness: SQL by hand, a transaction at its commit
            tx = record["tx"]
            if record["op"] in ("set", "delete"):
                held.setdefault(tx, []).append(record)
            elif record["op"] == "commit":
                for one in held.pop(tx, []):
                    db.execute("delete from work where id = ?", (one["key"],))
                    if one["op"] == "set":
                        row = one["value"]
                        db.execute("insert into work values (?, ?, ?)",
                                   (one["key"], row["state"], row["text"]))  # fmt: skip
            elif record["op"] == "abort":
                held.pop(tx, None)
        db.commit()

    found = read([torn], DECLARED)
    refused = database.change(str(made), [(c.table, c.key, c.value, c.gone) for c in found.changes],
                              column="id", tap=Host().tap)  # fmt: skip
    assert refused == []
    assert database.items(str(made)) == database.items(str(lived))
    ended = {r["tx"] for r in seen if r["op"] in ("commit", "abort")}
    open_ = {r["tx"] for r in seen} - ended
    assert {one.why for one in found.left_out if "is open" in one.why} == {
        f"transaction {tx} is open" for tx in open_
    }
    assert sum("torn" in one.why for one in found.left_out) == bool(torn_off)


def test_rows_keep_what_the_log_does_not_say(tmp_path: Path) -> None:
    """A captured database is the base: columns and tables that no record names stay."""
    path = tmp_path / "base.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("create table work (id integer primary key, state text, owner text)")
        db.execute("create table other (x)")
        db.executemany("insert into other values (?)", [(1,), (1,), (2,)])
        db.execute("insert into work values (1, 'open', 'ann'), (2, 'open', 'bob')")
        db.commit()
    edits: list[database.Edit] = [
        ("work", "1", {"state": "done"}, False), ("work", "2", None, True),
        ("work", "x", {"state": "new"}, False), ("", "1", {}, False), ("work", "3", "text", False),
    ]  # fmt: skip
    refused = database.change(str(path), edits, column="id", tap=Host().tap)
    assert [at for at, _ in refused] == [2, 3, 4]
    assert database.query(str(path), "select * from work") == [(1, "done", "ann")]
    assert len(database.items(str(path))) == 3
