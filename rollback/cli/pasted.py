"""Commands in what we say, so that they work when they are pasted where the operator is.

The rooms below name a command as if everything lay in its usual place. Whoever named another
declaration or state directory gets these options put into every command that is printed.

Hides: how a command is found in a text.
Never: changes a text for somebody whose things lie where they usually do.
"""

from __future__ import annotations

import pkgutil
import re
import shlex
from functools import cache
from pathlib import Path

NOT_COMMANDS = (
    "bar", "checkpoints", "desk", "driving", "failing", "given", "group", "pasted", "show", "timeline",
)  # fmt: skip


def commands() -> list[str]:
    """The commands that there are, sorted: the modules of this folder."""
    found = [m.name.rstrip("_").replace("_", "-") for m in pkgutil.iter_modules([_FOLDER])]
    return sorted(name for name in found if name not in NOT_COMMANDS)


def options(declaration: str | None, state: str | None) -> str:
    """What stands between `rollback` and the command, with a space before it; "" where nothing must.

    >>> options("other shop.yaml", None), options("./rollback.yaml", None)
    (" --system 'other shop.yaml'", '')
    """
    said = ""
    if declaration and Path(declaration).absolute() != Path("rollback.yaml").absolute():
        said += f" --system {quoted(declaration)}"
    if state:
        said += f" --state {quoted(state)}"
    return said


def quoted(word: str) -> str:
    """The word as a shell reads it again, on one line and with nothing that moves a cursor.

    >>> print(quoted("other shop.yaml"), quoted("a\\nb"))
    'other shop.yaml' $'a\\nb'
    """
    if word.isprintable():
        return shlex.quote(word)
    escaped = word.encode("unicode_escape").decode("ascii").replace("'", "\\'")
    return f"$'{escaped}'"


def pasted(text: str, given: str) -> str:
    """The text with these options in every command of ours that it names.

    >>> pasted("try: rollback resume r0001, or rollback was away", " --system x.yaml")
    'try: rollback --system x.yaml resume r0001, or rollback was away'
    """
    return _pattern().sub(lambda _found: f"rollback{given} ", text) if given else text


@cache
def _pattern() -> re.Pattern[str]:
    return re.compile(rf"\brollback (?=(?:{'|'.join(map(re.escape, commands()))})\b)")


_FOLDER = str(Path(__file__).parent)
