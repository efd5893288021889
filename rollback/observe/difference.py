"""How two texts differ, for a report: the lines that went and came, with a few around them.

Hides: the form of a unified difference.
Never: decides: what is too long or no text is said to be so.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Mapping

from rollback.model.finding import Attachment, Json
from rollback.observe.expect import Bound, shown

COMPARED_BYTES_MAX = 256 * 2**10
_LINES_MAX = 400


def difference(wanted: bytes, found: bytes, wanted_name: str, found_name: str) -> Attachment:
    """What is to be done to `wanted` to make it `found`, line by line."""
    name = f"difference of {found_name}"
    if b"\0" in wanted or b"\0" in found:
        said = f"no text: {wanted_name} {len(wanted)} B, {found_name} {len(found)} B\n"
        return Attachment(name, said, "diff")
    before, after = (data.decode("utf-8", "replace").splitlines() for data in (wanted, found))
    lines = difflib.unified_diff(before, after, wanted_name, found_name, lineterm="")
    told = [*itertools.islice(lines, _LINES_MAX + 1)]
    if len(told) > _LINES_MAX:
        told[_LINES_MAX:] = ["… and more"]
    cut = COMPARED_BYTES_MAX in (len(wanted), len(found))
    more = [f"(only the first {COMPARED_BYTES_MAX} bytes were compared)"] if cut else []
    return Attachment(name, "\n".join([*told, *more, ""]), "diff")


def of_values(wanted: Mapping[str, object], found: Mapping[str, Json], name: str) -> Attachment:
    """The same for declared values: a key that is not in `found` is missing."""
    lines = ["--- as declared", f"+++ {name}"]
    for key, value in wanted.items():
        lines.append(f"-{key}: {_spoken(value)}")
        if key in found:
            lines.append(f"+{key}: {shown(found[key])}")
    return Attachment(f"difference of {name}", "\n".join([*lines, ""]), "diff")


def _spoken(value: object) -> str:
    if not isinstance(value, Bound):
        return shown(value)
    limits = {"above": value.above, "below": value.below, "at least": value.at_least,
              "at most": value.at_most}  # fmt: skip
    told = [f"{word} {shown(limit)}" for word, limit in limits.items() if limit is not None]
    return " and ".join(told) or shown(value.equals)
