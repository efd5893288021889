"""Whether a configuration file parses, holds its keys and values, and points at what exists.

Hides: formats.
Never: follows a path out of the root.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, model_validator

from rollback.host import Tree
from rollback.host.below import checked
from rollback.model.errors import Confined
from rollback.model.finding import Attachment, Finding, Json, failed, passed
from rollback.model.registry import register
from rollback.model.step import Check, Text
from rollback.observe.difference import of_values
from rollback.observe.expect import Expected, shown, why_not
from rollback.observe.place import Place, opened
from rollback.observe.pointer import MISSING, dotted
from rollback.observe.structure import Format, format_of, header, read
from rollback.observe.view import View

_WRONG_MAX = 10


@register("check", "config")
class ConfigCheck(Check):
    """`keys` and `values` are dotted (`party.enabled`, `agents.0.name`).

    `columns` and `rows` are about a CSV file: rows maps a column to values that must stand in
    it. `paths` are keys whose value (a text, or a list or map of them) is a path below the root. A key
    without a value (null) is missing, unless `values` says null; and so is an empty file.
    """

    file: Place
    format: Format | None = None
    keys: tuple[Text, ...] = ()
    values: dict[str, Expected] = Field(default_factory=dict)
    columns: tuple[Text, ...] = ()
    rows: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(default_factory=dict)
    paths: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _known_format(self) -> ConfigCheck:
        if self._format() is None:
            raise ValueError(f"{self.file!r}: write format: yaml, json, csv or env")
        if (self.columns or self.rows) and self._format() != "csv":
            raise ValueError("columns and rows are about a csv file; leave them out")
        return self

    def _format(self) -> Format | None:
        return self.format or format_of(self.file)

    def ask(self, view: View) -> Finding:
        """PASS when the file parses and everything declared holds."""
        try:
            with opened(view, self.file) as (tree, name):
                data = tree.read(name)
        except (FileNotFoundError, NotADirectoryError):
            return failed(f"{self.file} is missing")
        format_ = self._format()
        assert format_ is not None, "checked when the declaration was read"
        try:
            document = read(data, format_)
        except ValueError as error:
            return failed(f"{self.file} does not parse: {shown(str(error))}")
        if document is None or (document in ([], {}, "") and not self._demands()):
            return failed(f"{self.file} holds nothing")
        wrong = self._wrong(document)
        if format_ == "csv":
            wrong += self._wrong_table(document, header(data.decode("utf-8-sig")))
        if self.paths:
            with view.host.tree(str(view.root)) as root:
                wrong += self._wrong_paths(document, root, view)
        if wrong:
            finding = failed(f"{self.file}: {'; '.join(wrong[:_WRONG_MAX])}")
            return finding.showing(*self._difference(document))
        return passed(f"{self.file} parses; {self._demands()} demands hold")

    def _demands(self) -> int:
        return sum(map(len, (self.keys, self.values, self.columns, self.rows, self.paths)))

    def read_value(self, view: View) -> Json:
        """What stands at the one key that is declared. Raises: OSError, ValueError."""
        if len(self.keys) != 1:
            raise ValueError(f"{self.file}: to give a value it needs one key, like keys: [version]")
        format_ = self._format()
        assert format_ is not None, "checked when the declaration was read"
        with opened(view, self.file) as (tree, name):
            found = dotted(read(tree.read(name), format_), self.keys[0])
        if found is MISSING:
            raise ValueError(f"{self.file}: {self.keys[0]} is missing")
        return found  # type: ignore[return-value] # MISSING is excluded above

    def _wrong(self, document: Json) -> list[str]:
        wrong = []
        for key in self.keys:
            there = dotted(document, key)
            if there is MISSING or (there is None and key not in self.values):
                wrong.append(f"{key} is missing" if there is MISSING else f"{key} has no value")
        for key, expected in self.values.items():
            found: Any = dotted(document, key)
            if found is MISSING:
                wrong.append(f"{key} is missing")
            elif reason := why_not(found, expected):
                wrong.append(f"{key}: {reason}")
        return wrong

    def _difference(self, document: Json) -> Iterator[Attachment]:
        """The keys and values that are not as declared, beside what stands there."""
        wanted: dict[str, Any] = {}
        there: dict[str, Json] = {}
        for key, expected in (*((key, "(anything)") for key in self.keys), *self.values.items()):
            found: Any = dotted(document, key)
            if found is MISSING:
                wanted[key] = expected
            elif key in self.values and why_not(found, expected):
                wanted[key], there[key] = expected, found
        if wanted:
            yield of_values(wanted, there, self.file)

    def _wrong_table(self, document: Json, names: list[str]) -> list[str]:
        wrong = [f"column {name} is missing" for name in self.columns if name not in names]
        lines = document if isinstance(document, list) else []
        for column, wanted in self.rows.items():
            there = {line.get(column) for line in lines if isinstance(line, dict)}
            wrong += [f"no row has {column} {value}" for value in wanted if value not in there]
        return wrong

    def _wrong_paths(self, document: Json, root: Tree, view: View) -> list[str]:
        wrong = []
        for key in self.paths:
            found: Any = dotted(document, key)
            if found is MISSING:
                wrong.append(f"{key} is missing")
                continue
            texts = _texts(found)
            if not texts or not all(text.strip("./ ") or text == "." for text in texts):
                wrong.append(f"{key} holds no path")
            wrong += [f"{key}: {reason}" for text in texts if (reason := _lost(text, root, view))]
        return wrong


def _texts(found: Json) -> list[str]:
    if isinstance(found, str):
        return [found]
    if isinstance(found, dict):
        return [text for value in found.values() for text in _texts(value)]
    return [text for value in found for text in _texts(value)] if isinstance(found, list) else []


def _lost(written: str, root: Tree, view: View) -> str:
    """Why the path leads nowhere below the root; "" when something stands there."""
    inside = written.removeprefix(f"{view.root}/").removeprefix("./").rstrip("/")
    try:
        if root.stat(checked(inside or ".")) is None:
            return f"{shown(written)} does not exist"
    except Confined as error:
        return f"{shown(written)}: {error.message}"
    return ""
