"""The whole way from text to a System: YAML, variables, shape, rules, for every environment.

Hides: in which order problems are found; that an environment is a resolution of its own.
Never: stops at the first problem, or lets a variable of one environment reach another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rollback.declare import env, rules, variables
from rollback.declare.kept import Origin, built
from rollback.declare.places import places
from rollback.declare.shape import fit
from rollback.declare.text import Document, read
from rollback.model.errors import Problem, SpecError
from rollback.model.system import HOME, SCHEMA, System


def resolve(
    text: str, *, name: str, file: Path, state: Path | None, environ: Mapping[str, str]
) -> tuple[System, Origin]:
    """The system that the text declares, and what it was resolved from.

    Raises: SpecError with every problem, in the order of the file.
    """
    document = read(text, name)
    if not isinstance(document.data, dict):
        if not document.problems:
            document.wrong(1, "the declaration is empty" if document.data is None else
                           "the declaration is not a map", "begin with: schema: 1")  # fmt: skip
        raise SpecError(_sorted(document))
    _version(document)
    written, digest = _variables_file(document, file.parent)
    data, others = _resolved(document, written, environ)
    found = places(data, file, state)
    sections = fit(document, data)
    rules.check(document, data, found)
    for where, other in others.items():
        _check_there(document, where, other, file, state)
    if document.problems or sections is None:
        raise SpecError(_sorted(document))
    system = built(data, others, declaration=file, state=found.state, sections=sections)
    return system, Origin(tuple(_declared(document)), _file_name(document), digest)


def from_source(source: dict[str, Any], *, declaration: Path, state: Path) -> System:
    """The system of a resolved declaration that was kept (see System.kept).

    Raises: SpecError when this version cannot read it any more.
    """
    others: dict[str, Any] = {}
    if "elsewhere" in source:
        source, others = source["source"], source["elsewhere"]
    name = f"the declaration kept of {declaration.name}"
    problems: list[Problem] = []
    sections = None
    for data in (*others.values(), source):
        document = Document(name, data=data)
        sections = fit(document, data)
        problems += document.problems
    if problems or sections is None:
        raise SpecError(tuple(dict.fromkeys(problems)))
    return built(source, others, declaration=declaration, state=state, sections=sections)


def _version(document: Document) -> None:
    written = document.data.get("schema")
    if isinstance(written, int) and not isinstance(written, bool) and written > SCHEMA:
        where = document.where(("schema",))
        raise SpecError((Problem(where,
            f"schema {written} is newer than this version knows ({SCHEMA})",
            "install a newer rollback-proof, or write schema: 1"),))  # fmt: skip


# -- variables and environments -------------------------------------------------------------------


def _declared(document: Document) -> Any:
    section = document.data.get("environment")
    declared = section.get("variables") if isinstance(section, dict) else None
    return declared if isinstance(declared, dict) else {}


def _file_name(document: Document) -> str:
    section = document.data.get("environment")
    name = section.get("file") if isinstance(section, dict) else None
    return name if isinstance(name, str) else ""


def _variables_file(document: Document, folder: Path) -> tuple[dict[str, str], str]:
    """The assignments of the declared file, and the digest of its bytes ("" when it is not there)."""
    name = _file_name(document)
    if not name:
        return {}, ""
    where = document.where(("environment", "file"))
    try:
        raw = (folder / name).read_bytes()
        file, wrong = env.assignments(raw.decode("utf-8"))
    except FileNotFoundError:
        return {}, ""  # the defaults hold until somebody deploys
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        document.problems.append(
            Problem(where, f"environment.file: {name} cannot be read: {reason}", "check it")
        )
        return {}, ""
    for line, message in wrong:
        document.problems.append(
            Problem(where, f"environment.file: {name}:{line}: {message}", "write NAME=value")
        )
    return file, hashlib.sha256(raw).hexdigest()


def _resolved(
    document: Document, file: Mapping[str, str], environ: Mapping[str, str]
) -> tuple[Any, dict[str, Any]]:
    """The data of the home environment, and of every other one in which it reads otherwise."""
    declared = _declared(document)
    section = document.data.get("environments")
    shapes = section if isinstance(section, dict) else {}

    def one(shape: Any) -> Any:
        own = shape.get("variables") if isinstance(shape, dict) else None
        own = own if isinstance(own, dict) else {}
        data = variables.substitute(
            document, variables.values(document, file, environ, own), declared
        )
        root = data["environments"][name].get("root") if isinstance(shape, dict) else None
        return {**data, "root": root} if isinstance(root, str) else data

    name = HOME
    home = one(shapes.get(HOME))
    others = {}
    for name, shape in shapes.items():
        if name != HOME and isinstance(shape, dict):
            found = one(shape)
            if found != home:
                others[name] = found
    return home, others


def _check_there(
    document: Document, name: str, data: Any, file: Path, state: Path | None
) -> None:  # fmt: skip
    """What is wrong in this environment alone is among the problems, and says so."""
    known = set(document.problems)
    fit(document, data)
    rules.check(document, data, places(data, file, state))
    document.problems[:] = [
        one if one in known else Problem(one.where, f"in environment {name}: {one.message}", one.hint)
        for one in document.problems
    ]  # fmt: skip


# -- problems -------------------------------------------------------------------------------------


def _sorted(document: Document) -> tuple[Problem, ...]:
    def line(problem: Problem) -> int:
        return int(problem.where.rsplit(":", 1)[1])

    unique = dict.fromkeys(
        Problem(one.where, _short(one.message), _short(one.hint)) for one in document.problems
    )
    return tuple(sorted(unique, key=line))


def _short(text: str) -> str:
    """One printable line that fits a terminal: what is quoted from the file may be anything."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return shown if len(shown) <= 600 else shown[:597] + "…"
