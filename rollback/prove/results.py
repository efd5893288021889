"""Allure's results as they reach the disk: without secrets, each under an identity that stays.

Hides: Allure's own writer, whose place this one takes; which parts of a test vary from run to run.
Never: decides anything, or stops a test: what cannot be written is left out.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import allure_commons
from allure_commons.logger import AllureFileLogger

from rollback.host import Host
from rollback.model.errors import HostError
from rollback.model.finding import Json
from rollback.model.registry import Kind
from rollback.model.system import System
from rollback.prove.discreet import plain
from rollback.prove.sight import Sight
from rollback.prove.where import FOLDER, suite_of

ATTACHED_BYTES_MAX = 64 * 2**20
VARYING_CHARS_MIN = 3  # a shorter value may stand anywhere
_VARIES = re.compile(
    r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"  # an id that was made up
    r"|\b[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]+(?:Z|[+-][0-9:]+)?"  # a moment
    r"|\b(?=[0-9a-f]*[0-9])[0-9a-f]{16,}\b"  # a nonce, a digest
    r"|\b[0-9]+\.[0-9]{5,}\b",  # a measured time
    re.IGNORECASE,
)
_KEPT = ("uuid", "historyId", "testCaseId", "source", "children")


@dataclass(frozen=True)
class About:
    """Which test it is, whatever varies, and what its page says beside what the test says itself."""

    identity: str
    labels: Mapping[str, str] = field(default_factory=dict)
    links: tuple[Mapping[str, str], ...] = ()


class Results:
    """Writes what Allure has to say while it has Allure's place; each file whole or not at all."""

    def __init__(self, folder: Path, sight: Sight) -> None:
        self._folder = folder
        self._sight = sight
        self._host = Host()
        self._abouts: dict[str, About] = {}
        self._about: About | None = None
        self._aside: list[object] = []

    @classmethod
    def take_over(cls, folder: Path, sight: Sight) -> Results:
        """Allure hands to this writer what it would have written itself, until `hand_back`."""
        mine, manager = cls(folder, sight), allure_commons.plugin_manager
        for plugin in list(manager.get_plugins()):
            if isinstance(plugin, AllureFileLogger):
                manager.unregister(plugin)
                mine._aside.append(plugin)
        manager.register(mine)
        return mine

    def hand_back(self) -> None:
        """Allure has its own writer again, which it looks for when it ends."""
        manager = allure_commons.plugin_manager
        manager.unregister(self)
        while self._aside:
            manager.register(self._aside.pop())

    def expect(self, items: Iterable[Any]) -> None:
        """These tests will be told of: each has an identity of its own."""
        times: dict[str, int] = {}
        for item in items:
            if not (suite := suite_of(item.path)):
                continue
            told = about(item, suite, self._sight)
            before = times.get(told.identity, 0)
            times[told.identity] = before + 1
            if (
                before
            ):  # they differ only in what varies: the order in which they stand tells them apart
                told = replace(told, identity=identity(told.identity, str(before)))
            self._abouts[item.nodeid] = told

    def begin(self, item: Any) -> None:
        """What is told from now on is about this test."""
        self._about = self._abouts.get(item.nodeid)

    # -- what Allure calls --

    @allure_commons.hookimpl
    def report_result(self, result: Any) -> None:
        """One test has ended."""
        told = _fields(result)
        if self._about is not None:
            # All parameters are left out of Allure's own reckoning: ours has those that stay.
            told["testCaseId"] = told["historyId"] = self._about.identity
            for one in told.get("parameters", []):
                one["excluded"] = True
            labels = told.setdefault("labels", [])
            known = {one["name"] for one in labels}
            labels += [{"name": name, "value": value} for name, value in self._about.labels.items()
                       if name not in known or name == "tag"]  # fmt: skip
            told.setdefault("links", []).extend(dict(one) for one in self._about.links)
        self._item(result, told)

    @allure_commons.hookimpl
    def report_container(self, container: Any) -> None:
        """What was set up and cleared away; pytest's own clearing, without name and outcome, is not."""
        told = _fields(container)
        afters = [one for one in told.get("afters", [])
                  if not str(one.get("name", "")).endswith("::<lambda>")]  # fmt: skip
        self._item(container, {**told, "afters": afters})

    @allure_commons.hookimpl
    def report_globals(self, globals_item: Any) -> None:
        """What belongs to no test."""
        self._item(globals_item, _fields(globals_item))

    @allure_commons.hookimpl
    def report_attached_data(self, body: str | bytes, file_name: str) -> None:
        """A text, or bytes, of a test."""
        data = plain(body).encode() if isinstance(body, str) else body
        self._put(file_name, self._searched(data, file_name))

    @allure_commons.hookimpl
    def report_attached_file(self, source: str, file_name: str) -> None:
        """A file of a test; one that is too large to be searched is left out, and says so."""
        with suppress(OSError):
            if os.stat(source).st_size > ATTACHED_BYTES_MAX:
                self._put(file_name, b"left out: too large to be searched for secrets\n")
            else:
                self._put(file_name, self._searched(Path(source).read_bytes(), file_name))

    # -- inside --

    def _item(self, item: Any, told: dict[str, Any]) -> None:
        name = item.file_pattern.format(prefix=self._host.token(16))
        self._put(name, json.dumps(self._tidy("", told)).encode())

    def _tidy(self, key: str, value: Any) -> Any:
        if key in _KEPT:
            return value
        if isinstance(value, str):
            return plain(self._sight.hide.text(value))
        if isinstance(value, dict):
            return {name: self._tidy(name, one) for name, one in value.items()}
        if isinstance(value, list):
            return [self._parameter(one) if key == "parameters" else self._tidy("", one)
                    for one in value]  # fmt: skip
        return value

    def _parameter(self, one: dict[str, Any]) -> dict[str, Any]:
        """A parameter called `password` is one, whatever it is."""
        told = self._sight.hide.under(str(one.get("name", "")), str(one.get("value", "")))
        return {**self._tidy("", one), "value": plain(str(told))}

    def _searched(self, data: bytes, name: str) -> bytes:
        if name.endswith(".json"):
            with suppress(ValueError, RecursionError):
                told: Json = self._sight.hide.under("", json.loads(data))
                return json.dumps(told, indent=2, sort_keys=True).encode()
        text = data.decode("utf-8", "surrogateescape")
        return self._sight.hide.text(text).encode("utf-8", "surrogateescape")

    def _put(self, name: str, data: bytes) -> None:
        with suppress(OSError, HostError), self._host.tree(str(self._folder)) as tree:
            tree.write(name, data, sync=False)


def _fields(item: Any) -> Any:
    """What Allure writes of one of its objects: everything that is not empty."""
    if isinstance(item, list):
        return [_fields(one) for one in item]
    names = getattr(type(item), "__attrs_attrs__", None)
    if names is None:
        return item
    told = {one.name: _fields(getattr(item, one.name)) for one in names}
    return {name: value for name, value in told.items() if value or value is False}


def about(item: Any, suite: str, sight: Sight) -> About:
    """What stays the same about a test of a suite in every run of the same declaration."""
    system, links = sight.system, [*_run_link(item, sight)]
    labels = {"epic": system.system.title, "feature": suite}
    callspec = getattr(item, "callspec", None)
    key = str(callspec.params.get("declared", "")) if callspec is not None else ""
    check = sight.checks.get(key)
    if check is None:
        below = item.path.as_posix().rpartition(f"/{FOLDER}/")[2]
        stays = steady(item.nodeid.partition("::")[2], system, _given(item, system))
        return About(identity(system.system.id, "team", below, stays),
                     {**labels, "story": item.path.name}, tuple(links))  # fmt: skip
    labels["story"] = story(key, check, system, sight.wanted.level)
    labels["severity"] = str(getattr(check, "severity", "normal"))
    if shown := getattr(check, "item", None):
        labels["tag"] = shown
        links.append(_requirement(shown, system))
    return About(identity(system.system.id, "check", key), labels, tuple(links))


def story(key: str, check: Kind, system: System, level: str) -> str:
    """The item of a checklist that rests on the check; else the demand it shows, or its title.

    Of the level that is asked about, else of the first that has one.
    """
    asked = [*system.levels.values()]
    if level in system.levels:
        asked.insert(0, system.levels[level])
    items = (one.item for found in asked for one in found.checklist if one.check == key)
    named = getattr(check, "item", None) or getattr(check, "title", None)
    return next(items, None) or str(named or key)


def identity(*names: str) -> str:
    """32 hex digits that are the same for the same names, and for no others."""
    return hashlib.sha256("\0".join(names).encode("utf-8", "replace")).hexdigest()[:32]


def steady(name: str, system: System, given: Mapping[str, str]) -> str:
    """The name of a test without what varies: places, values of declared variables, ids, moments."""
    known = {**given, str(system.state_path): "{state}", str(system.root_path): "{root}",
             str(system.declaration.parent): "{folder}", tempfile.gettempdir(): "{tmp}"}  # fmt: skip
    for value in sorted(
        (one for one in known if len(one) >= VARYING_CHARS_MIN), key=len, reverse=True
    ):
        name = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", lambda _, v=value: known[v], name)  # type: ignore[misc]
    return _VARIES.sub("{varies}", name)


def _given(item: Any, system: System) -> dict[str, str]:
    """What was given from outside for this one run, by value."""
    found = {str(item.config.getoption(name) or ""): f"{{{name}}}"
             for name in ("gate_run", "gate_nonce", "system")}  # fmt: skip
    for name, variable in system.environment.variables.items():
        found[os.environ.get(name, variable.default or "")] = f"{{{name}}}"
    return found


def _run_link(item: Any, sight: Sight) -> Iterator[Mapping[str, str]]:
    run = item.config.getoption("gate_run") or item.config.getoption("run")
    if run and run != "last":
        report = sight.system.state_path / "runs" / run / "report.md"
        yield {"type": "run", "name": f"run {run}", "url": report.absolute().as_uri()}


def _requirement(item: str, system: System) -> Mapping[str, str]:
    """Where the demand is written down: as the declaration says, else in the declaration."""
    pattern = system.verification.requirements
    url = pattern.replace("{item}", item) if pattern else system.declaration.absolute().as_uri()
    return {"type": "requirement", "name": item, "url": url}
