"""`rollback.yaml` to the model: every problem at once, each with file, line and what to type.

Hides: YAML, variables, line numbers, pydantic.
Never: imports a kind, changes a file, or accepts what it does not understand.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rollback.declare import env, rules, variables
from rollback.declare.secret_values import secret_values
from rollback.declare.shape import fit
from rollback.declare.text import SIZE_BYTES_MAX, Document, read
from rollback.model.errors import Problem, SpecError
from rollback.model.event import digest
from rollback.model.system import SCHEMA, System

FILE = "rollback.yaml"


def load(
    path: Path | None,
    *,
    state: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> System:
    """The system that the file declares (default: $ROLLBACK_SYSTEM, then ./rollback.yaml).

    Raises: SpecError with every problem, in the order of the file.
    """
    known = os.environ if environ is None else environ
    file = (path or Path(known.get("ROLLBACK_SYSTEM") or FILE)).absolute()
    document = read(_text(file), _shown(file))
    if not isinstance(document.data, dict):
        if not document.problems:
            document.wrong(1, "the declaration is empty" if document.data is None else
                           "the declaration is not a map", "begin with: schema: 1")  # fmt: skip
        raise SpecError(_sorted(document))
    _version(document)
    data = _resolved(document, file.parent, known)
    system = fit(document, data)
    places = rules.places(data, file, state)
    rules.check(document, data, places)
    if document.problems or system is None:
        raise SpecError(_sorted(document))
    return system.place(
        declaration=file,
        root=places.root,
        state=places.state,
        source=data,
        digest=digest(data, domain="declaration"),
        authority_digest=digest(_authority(data), domain="authority"),
    )


def from_source(source: dict[str, Any], *, declaration: Path, state: Path) -> System:
    """The system of a resolved declaration that was kept (see System.source).

    Raises: SpecError when this version cannot read it any more.
    """
    document = Document(f"the declaration kept of {declaration.name}", data=source)
    system = fit(document, source)
    if system is None:
        raise SpecError(tuple(dict.fromkeys(document.problems)))
    places = rules.places(source, declaration, state)
    return system.place(
        declaration=declaration, root=places.root, state=places.state, source=source,
        digest=digest(source, domain="declaration"),
        authority_digest=digest(_authority(source), domain="authority"),
    )  # fmt: skip


def schema() -> dict[str, Any]:
    """The JSON Schema of what `load` accepts, with the kinds that are registered."""
    from rollback.declare import completion  # heavy, and only for editors

    return completion.schema()


def _text(file: Path) -> str:
    name = _shown(file)

    def wrong(message: str, hint: str) -> SpecError:
        return SpecError((Problem(f"{name}:1", message, hint),))

    try:
        fd = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise wrong("there is no such file", "run rollback init, or name one: rollback --system "
                    "FILE") from None  # fmt: skip
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable name"
        raise wrong(f"cannot be read: {reason}", f"check it: ls -l {name}") from None
    try:
        found = os.fstat(fd)
        if stat.S_ISDIR(found.st_mode):
            raise wrong("is a folder", f"name the file in it: --system {name}/{FILE}")
        if not stat.S_ISREG(found.st_mode):
            raise wrong("is no regular file", "name a file")
        if found.st_mode & stat.S_IWOTH:
            raise wrong("everybody may write this file, so nobody can trust it",
                        f"take that away: chmod o-w {name}")  # fmt: skip
        with os.fdopen(fd, "rb", closefd=False) as stream:
            raw = stream.read(SIZE_BYTES_MAX + 1)
    except OSError as error:
        raise wrong(f"cannot be read: {error.strerror}", f"check it: ls -l {name}") from None
    finally:
        os.close(fd)
    if len(raw) > SIZE_BYTES_MAX:
        raise wrong(f"larger than {SIZE_BYTES_MAX // 2**20} MiB", "split the system into several")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SpecError((Problem(f"{name}:{line}", "not UTF-8 text",
                                 f"convert it: iconv -t UTF-8 {name}"),)) from None  # fmt: skip


def _version(document: Document) -> None:
    written = document.data.get("schema")
    if isinstance(written, int) and not isinstance(written, bool) and written > SCHEMA:
        where = document.where(("schema",))
        raise SpecError((Problem(where,
            f"schema {written} is newer than this version knows ({SCHEMA})",
            "install a newer rollback-proof, or write schema: 1"),))  # fmt: skip


def _resolved(document: Document, folder: Path, environ: Mapping[str, str]) -> Any:
    section = document.data.get("environment")
    name = section.get("file") if isinstance(section, dict) else None
    file: dict[str, str] = {}
    if isinstance(name, str) and name:
        where = ("environment", "file")
        try:
            file, wrong = env.assignments((folder / name).read_text("utf-8"))
        except FileNotFoundError:
            wrong = []  # the defaults hold until somebody deploys
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            wrong = []
            document.problems.append(Problem(document.where(where),
                f"environment.file: {name} cannot be read: {reason}", "check it"))  # fmt: skip
        for line, message in wrong:
            document.problems.append(Problem(document.where(where),
                f"environment.file: {name}:{line}: {message}", "write NAME=value"))  # fmt: skip
    known = variables.values(document, file, environ)
    declared = section.get("variables") if isinstance(section, dict) else None
    return variables.substitute(document, known, declared)


def _authority(data: dict[str, Any]) -> dict[str, Any]:
    """The sections that say who may decide; what `rollback trust` pins."""
    levels = {name: level.get("authority") for name, level in data["levels"].items()}
    procedures = {
        name: one["authority"] for name, one in data.get("procedures", {}).items()
        if "authority" in one
    }  # fmt: skip
    return {
        **{key: data[key] for key in ("people", "autonomy", "guardrails") if key in data},
        "levels": levels,
        "procedures": procedures,
    }


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


def _shown(file: Path) -> str:
    try:
        return str(file.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(file)


__all__ = ["from_source", "load", "schema", "secret_values"]


def planned(system: System) -> tuple[tuple[str, str, str], ...]:
    """Everything the declaration marks as planned: where in it, which kind, and what is missing."""
    return tuple(_planned(system.source, ""))


def _planned(data: Any, where: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(data, dict):
        found = data.get("planned")
        if isinstance(found, dict) and "missing" in found:
            yield where, str(found.get("kind", "")), str(found["missing"])
        for key, value in data.items():
            yield from _planned(value, f"{where}.{key}" if where else str(key))
    elif isinstance(data, (list, tuple)):
        for number, value in enumerate(data):
            yield from _planned(value, f"{where}.{number}")
