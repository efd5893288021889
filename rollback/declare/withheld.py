"""What is withheld of a declaration when it is written down: the secrets that variables bring in.

In the place of each stands its name, with what tells whether it is still the same: `${TOKEN:9f…}`. Whoever
reads what was kept asks for the secret where it is, as with any reference; so a run goes on with the
secret of now.

Hides: which variables are secret; the spelling.
Never: writes a value, or what a value could be guessed from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rollback.declare import env, walk
from rollback.declare.secret_values import TELLING
from rollback.keep import state_key

_USE = re.compile(r"\$\{([^}:]*)(?::[0-9a-f]+)?\}")
_TELLING_PLACE = re.compile(
    r"passw|secret|token|credential|api[_-]?key|access[_-]?key|private[_-]?key|authori[sz]ation|cookie",
    re.IGNORECASE,
)
_URL_USER = re.compile(r"://[^/\s@]*@")

Values = Mapping[str, str]


def names(data: Any, declared: Mapping[str, Any]) -> frozenset[str]:
    """The declared variables whose values are secret: by name, by word, or by where they are used.

    `data` is the declaration before anything was filled in.
    """
    found = {
        name for name, shape in declared.items()
        if TELLING.search(str(name)) or (isinstance(shape, dict) and shape.get("secret") is True)
    }  # fmt: skip
    for path, value in walk.leaves(data):
        if isinstance(value, str) and "${" in value:
            key = next((part for part in reversed(path) if isinstance(part, str)), "")
            telling = _TELLING_PLACE.search(key)
            for text in (value,) if telling else _URL_USER.findall(value):
                found.update(_USE.findall(text))
    return frozenset(found & {*declared})


def left_open(values: Values) -> dict[str, str]:
    """What is filled in for each of them at first: its own place."""
    return {name: f"${{{name}}}" for name in values}


def marked(data: Any, values: Values, key: str) -> Any:
    """The data as it may be written down."""

    def mark(name: str) -> str | None:
        if name not in values:
            return None
        said = state_key.told(key, f"{name}\0{values[name]}".encode("utf-8", "surrogatepass"))
        return f"${{{name}:{said}}}"

    return _filled(data, mark)


def opened(data: Any, values: Values, missing: list[str] | None = None) -> Any:
    """The data with its secrets; the name of each that has no value is among `missing`."""

    def value(name: str) -> str | None:
        if name not in values and missing is not None and name not in missing:
            missing.append(name)
        return values.get(name)

    return _filled(data, value)


def of_now(data: Mapping[str, Any], folder: Path, environ: Values) -> dict[str, str]:
    """The value that each variable of a kept declaration has now; `folder` is where the declaration lies."""
    section = data.get("environment")
    section = section if isinstance(section, dict) else {}
    declared, name = section.get("variables"), section.get("file")
    found: dict[str, str] = {}
    for variable, shape in (declared if isinstance(declared, dict) else {}).items():
        default = shape.get("default") if isinstance(shape, dict) else None
        if isinstance(default, str):
            found[variable] = default
    if isinstance(name, str):
        try:
            found.update(env.assignments((folder / name).read_text("utf-8"))[0])
        except (OSError, ValueError):
            pass  # who needs a value of it is told that there is none
    return {**found, **environ}


def _filled(data: Any, value: Callable[[str], str | None]) -> Any:
    """The data with each place filled by `value`; None: as it is."""

    def one(match: re.Match[str]) -> str:
        found = value(match[1])
        return match[0] if found is None else found

    if isinstance(data, str):
        return _USE.sub(one, data) if "${" in data else data
    if isinstance(data, dict):
        return {key: _filled(inner, value) for key, inner in data.items()}
    if isinstance(data, list):
        return [_filled(inner, value) for inner in data]
    return data
