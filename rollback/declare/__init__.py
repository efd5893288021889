"""`rollback.yaml` to the model: every problem at once, each with file, line and what to type.

Hides: YAML, variables, line numbers, pydantic; that what was read before need not be read again.
Never: imports a kind, changes a managed file, or accepts what it does not understand.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollback.declare import kept
from rollback.declare.secret_values import secret_values
from rollback.model.errors import Problem, SpecError
from rollback.model.system import HOME, System

if TYPE_CHECKING:
    from rollback.declare.text import Path as Spot
    from rollback.host import Tree

FILE = "rollback.yaml"
SIZE_BYTES_MAX = 2**20


class Reading:
    """One reading of a declaration: `system` is what it says, `keep` saves the next one the work."""

    def __init__(self, file: Path, *, state: Path | None, environ: Mapping[str, str]) -> None:
        self._text, self._environ = _text(file), environ
        found = kept.find(self._text, file=file, state=state, environ=environ)
        self._origin: kept.Origin | None = None
        if found is None:
            from rollback.declare.whole import resolve  # YAML and the rules: a third of a start

            found, self._origin = resolve(
                self._text, name=_shown(file), file=file, state=state, environ=environ
            )
        self.system = found

    def keep(self, tree: Tree) -> None:
        """The next reading of the same text finds this one in the state directory `tree`."""
        if self._origin is not None:
            kept.keep(self.system, self._origin, self._text, tree, self._environ)
            self._origin = None


def load(
    path: Path | None,
    *,
    state: Path | None = None,
    environ: Mapping[str, str] | None = None,
    environment: str = HOME,
) -> System:
    """The system that the file declares (default: $ROLLBACK_SYSTEM, then ./rollback.yaml).

    It is read anew, whatever was kept. `environment` is the one that it is resolved for.
    Raises: SpecError with every problem, in the order of the file; PlanError for an environment
    that is not declared.
    """
    from rollback.declare.whole import resolve

    known = os.environ if environ is None else environ
    file = located(path, known)
    system, _ = resolve(_text(file), name=_shown(file), file=file, state=state, environ=known)
    return system.in_environment(environment)


def located(path: Path | None, environ: Mapping[str, str]) -> Path:
    """The file that is meant: as given, then $ROLLBACK_SYSTEM, then ./rollback.yaml."""
    return (path or Path(environ.get("ROLLBACK_SYSTEM") or FILE)).absolute()


def from_source(
    source: dict[str, Any], *, declaration: Path, state: Path,
    environ: Mapping[str, str] | None = None, blind: bool = False,
) -> System:  # fmt: skip
    """The system of a resolved declaration that was kept (see System.kept), with the secrets of now.

    `blind` is for looking alone: a secret that is not there is masked. Raises: SpecError when one is
    not there, or this version cannot read it any more.
    """
    from rollback.declare import whole

    known = os.environ if environ is None else environ
    return whole.from_source(
        source, declaration=declaration, state=state, environ=known, blind=blind
    )


def last_well(file: Path, *, state: Path | None) -> System | None:
    """The system as the file declared it when it was last read well here; None: nothing was kept."""
    try:
        found = kept.last(_text(file), file=file, state=state)
        return (
            from_source(found[0], declaration=file, state=found[1], blind=True) if found else None
        )
    except SpecError:
        return None  # there is no such file, or another version kept it


def lines(file: Path) -> Callable[[Spot], str]:
    """Where in the file each of its keys is written, as `file:line`. Raises: SpecError."""
    from rollback.declare.text import read  # YAML, for those who ask

    return read(_text(file), _shown(file)).where


def schema() -> dict[str, Any]:
    """The JSON Schema of what `load` accepts, with every kind."""
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


def _shown(file: Path) -> str:
    try:
        return str(file.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(file)


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


__all__ = [
    "Reading",
    "from_source",
    "last_well",
    "lines",
    "load",
    "planned",
    "schema",
    "secret_values",
]
