"""A question in SQL about one file of rows: JSON lines, CSV or Parquet, of any size.

Hides: DuckDB, which is an extra, and how it is kept from everything but that file.
Never: writes; reads another file, or the network; goes on after its deadline.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from rollback.model.errors import HostError

MEMORY = "512MB"
THREADS = 2  # a metric is read beside the system that it measures
_READERS = {
    ".jsonl": "read_json(?, format = 'newline_delimited', ignore_errors = true)",
    ".ndjson": "read_json(?, format = 'newline_delimited', ignore_errors = true)",
    ".log": "read_json(?, format = 'newline_delimited', ignore_errors = true)",
    ".csv": "read_csv(?, ignore_errors = true)",
    ".parquet": "read_parquet(?)",
}
KINDS = tuple(_READERS)


def query(
    fd: int, name: str, sql: str, *, time: str | None, since: datetime | None, until: datetime,
    newest: int | None, timeout_s: float,
) -> Sequence[tuple[Any, ...]]:  # fmt: skip
    """The rows of the answer, at most two; the file is the table `log`.

    `name` tells by its end what the file holds. With `time`, a column, only rows of a readable time
    after `since` and until `until` are in the table, of which the `newest` so many. Raises: HostError.
    """
    try:
        import duckdb
    except ImportError:
        raise HostError("DuckDB is not installed", where=name,
                        hint="install the extra: pip install 'CHECKOUT[logs]'") from None  # fmt: skip
    end = "." + name.rpartition(".")[2]
    if end not in _READERS:
        raise HostError(f"no kind of table ends so; known: {', '.join(KINDS)}", where=name)
    path = f"/proc/self/fd/{fd}"
    begun = duckdb.connect(":memory:", config={
        "threads": THREADS, "memory_limit": MEMORY, "temp_directory": "",
        "autoinstall_known_extensions": False, "autoload_known_extensions": False,
    })  # fmt: skip
    late = threading.Timer(timeout_s, begun.interrupt)
    late.daemon = True
    late.start()
    try:
        with begun as asked:
            asked.execute("set timezone = 'UTC'")
            whole = _READERS[end].replace("?", f"'{path}'")
            asked.execute(f"create view whole as select * from {whole}")  # noqa: S608 - all ours
            asked.execute(_chosen(asked, time, since, until, newest, name))
            asked.execute(f"set allowed_paths = ['{path}']")
            asked.execute("set enable_external_access = false")
            asked.execute("set lock_configuration = true")
            rows = asked.execute(sql).fetchmany(2)
            return [tuple(float(v) if isinstance(v, Decimal) else v for v in row) for row in rows]
    except duckdb.InterruptException:
        raise HostError(f"no answer within {timeout_s:g} s", where=name) from None
    except duckdb.Error as error:
        raise HostError(str(error).partition("\n")[0], where=name) from error
    finally:
        late.cancel()


def _chosen(
    asked: Any, time: str | None, since: datetime | None, until: datetime, newest: int | None, name: str
) -> str:  # fmt: skip
    """The statement that makes `log` of `whole`."""
    if time is None:
        return "create view log as select * from whole"
    types = {str(row[0]): str(row[1]) for row in asked.execute("describe whole").fetchall()}
    if time not in types:
        raise HostError(f"there is no column {time}; there are {', '.join(types)}", where=name)
    quoted = '"' + time.replace('"', '""') + '"'
    numeric = types[time].startswith(("BIGINT", "DOUBLE", "INTEGER", "HUGEINT", "FLOAT", "DECIMAL"))
    if types[time] == "TIMESTAMP WITH TIME ZONE":
        moment = quoted
    else:
        moment = f"to_timestamp({quoted})" if numeric else f"try_cast({quoted} as timestamptz)"
    wanted = [f"{moment} <= '{until.isoformat()}'"]
    wanted += [f"{moment} > '{since.isoformat()}'"] if since is not None else []
    most = f" order by {moment} desc limit {int(newest)}" if newest is not None else ""
    rows = f"select * from whole where {' and '.join(wanted)}{most}"  # noqa: S608 - the name is quoted
    return f"create view log as {rows}"
