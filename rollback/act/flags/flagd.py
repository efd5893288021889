"""A flag of a flagd definition file: {"flags": {name: {state, variants, defaultVariant}}}.

Setting it makes the variant with that value the default one; unsetting it disables the flag, so
that the program's own default rules.

Hides: variants.
Never: writes.
"""

from __future__ import annotations

import json
from typing import Any

from rollback.act.flag import Read, Slot, Value, same
from rollback.model.component import Flag
from rollback.model.errors import PlanError
from rollback.model.finding import Json
from rollback.model.registry import Kind, register


@register("flag", "flagd")
class FlagdFlag(Kind):
    """One named flag of one file."""

    def slots(self, flag: Flag) -> tuple[Slot, ...]:
        """The one file."""
        assert flag.flagd is not None
        key = f"flags.{flag.flagd.key}.defaultVariant"
        return (Slot("flagd", flag.flagd.path, "json", key, None),)

    def slot(self, flag: Flag, layer: str | None, value: Value | None, read: Read) -> Slot:
        """The default variant, or for `unset` the state."""
        assert flag.flagd is not None
        if layer is not None:
            raise PlanError("a flagd flag has no layers", hint="leave layer out")
        body = _definition(flag, read)
        place = f"flags.{flag.flagd.key}"
        if value is None:
            return Slot("flagd", flag.flagd.path, "json", f"{place}.state", "DISABLED")
        variants = body.get("variants")
        names = (
            [n for n, v in variants.items() if same(v, value)] if isinstance(variants, dict) else []
        )
        if not names:
            raise PlanError(f"no variant of the flag has the value {value}", where=flag.flagd.path)
        return Slot("flagd", flag.flagd.path, "json", f"{place}.defaultVariant", names[0])

    def effective(self, flag: Flag, read: Read) -> Json:
        """The value of the default variant; None while the flag is disabled."""
        body = _definition(flag, read)
        if body.get("state", "ENABLED") != "ENABLED":
            return None
        variants = body.get("variants")
        found = variants.get(body.get("defaultVariant")) if isinstance(variants, dict) else None
        return found if isinstance(found, (bool, int, float, str)) else None


def _definition(flag: Flag, read: Read) -> dict[str, Any]:
    assert flag.flagd is not None
    data = read(flag.flagd.path)
    try:
        body = json.loads(data or b"")["flags"][flag.flagd.key]
    except (ValueError, KeyError, TypeError) as error:
        raise PlanError(f"the file does not define the flag {flag.flagd.key}",
                        where=flag.flagd.path) from error  # fmt: skip
    if not isinstance(body, dict):
        raise PlanError(f"the definition of {flag.flagd.key} is no object", where=flag.flagd.path)
    return body
