"""The whole way from text to a System: YAML, variables, shape, rules, for every environment.

Hides: in which order problems are found; that an environment is a resolution of its own.
Never: stops at the first problem, or lets a variable of one environment reach another.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rollback.declare import env, rules, variables, withheld
from rollback.declare.kept import Origin, built, joined, parted
from rollback.declare.places import places
from rollback.declare.shape import fit
from rollback.declare.text import Document, read
from rollback.host import Host
from rollback.keep import state_key
from rollback.keep.redact import MASK, Redactor
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
    written, raw = _variables_file(document, file.parent)
    open_, values = _resolved(document, written, environ)
    data, others = parted(withheld.opened(open_, values))
    found = places(data, file, state)
    sections = fit(document, data)
    rules.check(document, data, found)
    for where, other in others.items():
        _check_there(document, where, other, file, state)
    if document.problems or sections is None:
        raise SpecError(_sorted(document, values))
    key = state_key.read(found.state) or Host().token(state_key.SIZE_BYTES) if values else ""
    system = built(data, others, declaration=file, state=found.state, sections=sections, key=key,
                   kept=withheld.marked(open_, values, key), secrets=values.values())  # fmt: skip
    return system, Origin(tuple(_declared(document)), _file_name(document), raw)


def from_source(
    kept: dict[str, Any], *, declaration: Path, state: Path, environ: Mapping[str, str],
    blind: bool = False,
) -> System:  # fmt: skip
    """The system of a resolved declaration that was kept (see System.kept), with the secrets of now.

    `blind` is for looking alone: a secret that is not there is masked. Raises: SpecError when one is
    not there, or this version cannot read it any more.
    """
    name = f"the declaration kept of {declaration.name}"
    named: list[str] = []
    withheld.opened(kept, {}, named)
    now = withheld.of_now(parted(kept)[0], declaration.parent, environ) if named else {}
    lacking = [one for one in named if one not in now]
    if lacking and not blind:
        raise SpecError(tuple(
            Problem(name, f"${{{one}}} has no value, and it is kept nowhere, being a secret",
                    f"set {one} in the environment or its file") for one in lacking))  # fmt: skip
    values = {one: now.get(one, MASK) for one in named}
    source, others = parted(withheld.opened(kept, values))
    problems: list[Problem] = []
    sections = None
    for data in (*others.values(), source):
        document = Document(name, data=data)
        sections = fit(document, data)
        problems += document.problems
    if problems or sections is None:
        raise SpecError(tuple(dict.fromkeys(_discreet(one, values) for one in problems)))
    return built(source, others, declaration=declaration, state=state, sections=sections, kept=kept,
                 secrets=[values[one] for one in named if one in now])  # fmt: skip


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


def _variables_file(document: Document, folder: Path) -> tuple[dict[str, str], bytes | None]:
    """The assignments of the declared file, and its bytes (None when it is not there)."""
    name = _file_name(document)
    if not name:
        return {}, None
    where = document.where(("environment", "file"))
    try:
        raw = (folder / name).read_bytes()
        file, wrong = env.assignments(raw.decode("utf-8"))
    except FileNotFoundError:
        return {}, None  # the defaults hold until somebody deploys
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        document.problems.append(
            Problem(where, f"environment.file: {name} cannot be read: {reason}", "check it")
        )
        return {}, None
    for line, message in wrong:
        document.problems.append(
            Problem(where, f"environment.file: {name}:{line}: {message}", "write NAME=value")
        )
    return file, raw


def _resolved(
    document: Document, file: Mapping[str, str], environ: Mapping[str, str]
) -> tuple[Any, dict[str, str]]:
    """The data of the home environment, and of every other one in which it reads otherwise, joined.

    The places of secrets are left open; their values are beside it.
    """
    declared = _declared(document)
    hidden = withheld.names(document.data, declared)
    values: dict[str, str] = {}
    section = document.data.get("environments")
    shapes = section if isinstance(section, dict) else {}

    def one(shape: Any) -> Any:
        own = shape.get("variables") if isinstance(shape, dict) else None
        own = own if isinstance(own, dict) else {}
        known = variables.values(document, file, environ, own)
        secret = {
            name: known[name]
            for name in hidden & {*known} - {*own}
            if name in environ or name in file
        }
        values.update(secret)
        data = variables.substitute(document, {**known, **withheld.left_open(secret)}, declared)
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
    return joined(home, others), values


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


def _sorted(document: Document, secrets: Mapping[str, str] | None = None) -> tuple[Problem, ...]:
    def line(problem: Problem) -> int:
        return int(problem.where.rsplit(":", 1)[1])

    told = (_discreet(one, secrets or {}) for one in document.problems)
    unique = dict.fromkeys(
        Problem(one.where, _short(one.message), _short(one.hint)) for one in told
    )
    return tuple(sorted(unique, key=line))


def _discreet(problem: Problem, secrets: Mapping[str, str]) -> Problem:
    """What is wrong, without the values of secrets."""
    hide = Redactor(secrets.values()).text
    return Problem(problem.where, hide(problem.message), hide(problem.hint)) if secrets else problem


def _short(text: str) -> str:
    """One printable line that fits a terminal: what is quoted from the file may be anything."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return shown if len(shown) <= 600 else shown[:597] + "…"
