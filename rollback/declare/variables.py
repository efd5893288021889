"""`${NAME}` in scalar values: what the declared environment says, then the process, file, default.

Hides: where a value came from.
Never: looks at people, autonomy, guardrails or authority; substitutes in keys; twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rollback.declare.text import Document, Path
from rollback.model.errors import Problem
from rollback.model.registry import nearest

_USE = re.compile(r"\$\{([^}]*)\}")
_FIXED = ("people", "autonomy", "guardrails")


def values(
    document: Document, file: Mapping[str, str], environ: Mapping[str, str],
    own: Mapping[str, Any],
) -> dict[str, str]:  # fmt: skip
    """What each declared variable stands for; one without a value is a problem.

    `own` is what the declared environment says itself. It wins over the process, whose variables
    are those of wherever the operator sits, and must not turn staging into production.
    """
    found: dict[str, str] = {}
    section = document.data.get("environment")
    declared = section.get("variables") if isinstance(section, dict) else None
    if not isinstance(declared, dict):
        return found
    for name, shape in declared.items():
        default = shape.get("default") if isinstance(shape, dict) else None
        value = own.get(name, environ.get(name, file.get(name, default)))
        if isinstance(value, str):
            found[name] = value
            if "\0" in value or "\n" in value or "${" in value:
                where = document.where(("environment", "variables", name))
                document.problems.append(Problem(where,
                    f"the value of {name} holds a line break, a NUL or another ${{…}}",
                    "give it one plain line"))  # fmt: skip
                found[name] = ""
    return found


def substitute(document: Document, known: Mapping[str, str], declared: Any) -> Any:
    """The data with every `${NAME}` replaced; what cannot be is a problem."""
    names = tuple(declared) if isinstance(declared, dict) else ()

    def text(value: str, path: Path) -> str:
        if "${" not in value:
            return value
        where = document.where(path)
        if path and (path[0] in _FIXED or "authority" in path):
            document.problems.append(Problem(where,
                f"{path[0]} may not depend on a variable: {value!r}",
                "write the value itself: who may decide is pinned by the file"))  # fmt: skip
            return value

        def one(match: re.Match[str]) -> str:
            name = match[1]
            if name in known:
                return known[name]
            if name in names:
                message = f"${{{name}}} has no value"
                hint = f"set {name} in the environment or its file, or give it a default"
            else:
                message = f"${{{name}}} is not declared"
                hint = nearest(name, names) or "declare it"
                hint += f"; or declare it: environment: {{variables: {{{name}: {{default: …}}}}}}"
            document.problems.append(Problem(where, message, hint))
            return match[0]

        return _USE.sub(one, value)

    def walk(value: Any, path: Path) -> Any:
        if isinstance(value, str):
            return text(value, path)
        if isinstance(value, dict):
            return {k: walk(v, (*path, k)) for k, v in value.items()}
        if isinstance(value, list):
            return [walk(v, (*path, i)) for i, v in enumerate(value)]
        return value

    return walk(document.data, ())
