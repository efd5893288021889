"""Numbers with units, as a declaration writes them: `90s`, `1 GiB`, `10%`.

Hides: the spelling of units; inside there are only seconds, bytes and fractions.
Never: guesses a unit that was not written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_DURATION_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SIZE_BYTES = {
    "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
_NUMBER = r"(0|[1-9][0-9]{0,11})(\.[0-9]{1,6})?"
_DURATION = re.compile(rf"\A{_NUMBER} ?(ms|s|m|h|d|w)\Z", re.ASCII)
_SIZE = re.compile(rf"\A{_NUMBER} ?(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)\Z", re.ASCII)
_SHARE = re.compile(rf"\A{_NUMBER} ?%\Z", re.ASCII)
DURATION_S_MAX = 10 * 365 * 86400.0  # ten years: anything longer is a slip of the pen
SIZE_BYTES_MAX = 2**50  # 1 PiB


def duration_s(written: Any) -> float:
    """The seconds in `90s`, `15m`, `2h`, `1.5d`.

    >>> duration_s("90s"), duration_s("15m")
    (90.0, 900.0)
    """
    found = _DURATION.match(written) if isinstance(written, str) else None
    if not found:
        raise ValueError(f"{written!r} is not a duration; write it with a unit, like 90s or 15m")
    seconds = float(found[1] + (found[2] or "")) * _DURATION_S[found[3]]
    if seconds > DURATION_S_MAX:
        raise ValueError(f"{written!r} is longer than ten years")
    return seconds


def size_bytes(written: Any) -> int:
    """The bytes in `64 MiB`, `1GB`.

    >>> size_bytes("64 MiB")
    67108864
    """
    found = _SIZE.match(written) if isinstance(written, str) else None
    if not found:
        raise ValueError(f"{written!r} is not a size; write it with a unit, like 64 MiB")
    amount = int(float(found[1] + (found[2] or "")) * _SIZE_BYTES[found[3]])
    if amount > SIZE_BYTES_MAX:
        raise ValueError(f"{written!r} is more than 1 PiB")
    return amount


def share(written: Any) -> float:
    """The fraction in `10%`; 0.0 to 1.0.

    >>> share("10%")
    0.1
    """
    found = _SHARE.match(written) if isinstance(written, str) else None
    if not found:
        raise ValueError(f"{written!r} is not a share; write it in percent, like 10%")
    value = float(found[1] + (found[2] or "")) / 100
    if value > 1:
        raise ValueError(f"{written!r} is more than 100%")
    return value


def number(written: Any) -> float:
    """The plain value of a limit: a number, `10%`, `250ms` (in the metric's own unit) or a size.

    Durations become milliseconds when written in ms, else seconds; sizes become bytes.
    """
    if isinstance(written, bool) or written is None:
        raise ValueError(f"{written!r} is not a number")
    if isinstance(written, (int, float)):
        value = float(written)
        if not math.isfinite(value) or abs(value) > 1e15:
            raise ValueError(f"{written!r} is not a usable number")
        return value
    if isinstance(written, str):
        for pattern, read in ((_SHARE, share), (_SIZE, size_bytes)):
            if pattern.match(written):
                return float(read(written))
        found = _DURATION.match(written)
        if found:
            seconds = duration_s(written)
            return seconds * 1000 if found[3] == "ms" else seconds
    raise ValueError(f"{written!r} is not a number; write 5, 10%, 250ms or 64 MiB")


def spoken(seconds: float | None) -> str:
    """A duration as an operator would say it, the one way in which it is printed anywhere.

    >>> [spoken(one) for one in (None, 0.042, 12.34, 42, 900, 245, 3600, 7800, 180000)]
    ['-', '0.042 s', '12.3 s', '42 s', '15 min', '4 min 5 s', '1 h', '2 h 10 min', '2 d 2 h']
    """
    if seconds is None:
        return "-"
    if round(seconds, 1) < 60:
        return f"{round(seconds, 3):.2g} s" if seconds < 1 else f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def sized(size_bytes: float | None) -> str:
    """A size as an operator would say it, the one way in which it is printed anywhere.

    >>> [sized(one) for one in (None, 512, 2048, 167772160, 3 * 2**40)]
    ['-', '512 B', '2.0 KiB', '160.0 MiB', '3072.0 GiB']
    """
    if size_bytes is None:
        return "-"
    amount = float(size_bytes)
    for unit in ("B", "KiB", "MiB"):
        if abs(amount) < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def read_as(value: float, unit: str) -> str:
    """A reading with its unit.

    >>> read_as(0.15071, "fraction"), read_as(169_000_000, "bytes")
    ('0.1507 fraction', '161.2 MiB')
    """
    return sized(value) if unit == "bytes" else f"{value:.4g} {unit}"


def counted(count: int, one: str, many: str = "") -> str:
    """A number of things, in words.

    >>> counted(1, "component"), counted(2, "component"), counted(0, "entry", "entries")
    ('1 component', '2 components', '0 entries')
    """
    return f"{count} {one if count == 1 else many or one + 's'}"


def listed(items: Sequence[str], most: int = 3, *, between: str = "; ") -> str:
    """The first of them, and how many more there are.

    >>> listed(["a", "b", "c", "d"], between=", "), listed(["a"]), listed([])
    ('a, b, c, and 1 more', 'a', '')
    """
    more = [f"and {len(items) - most} more"] if len(items) > most else []
    return between.join([*items[:most], *more])


def lasting_s(written: Any) -> float:
    """Seconds of a duration that is longer than none."""
    found = duration_s(written)
    if found <= 0:
        raise ValueError(f"{written} is no time at all; write one like 5s")
    return found


def retention(written: Any) -> str | float:
    """`keep` for ever, or the seconds of a duration."""
    return "keep" if written == "keep" else duration_s(written)


_TEXT: dict[str, Any] = {"type": "string"}
_NUMBER_OR_TEXT: dict[str, Any] = {"type": ["number", "string"]}
Seconds = Annotated[
    float,
    BeforeValidator(duration_s),
    WithJsonSchema({**_TEXT, "description": "a duration with its unit: 90s, 15m, 2h, 1d"}),
]
Lasting = Annotated[
    float,
    BeforeValidator(lasting_s),
    WithJsonSchema(
        {**_TEXT, "description": "a duration with its unit, longer than none: 90s, 15m"}
    ),
]
Bytes = Annotated[
    int,
    BeforeValidator(size_bytes),
    WithJsonSchema({**_TEXT, "description": "a size with its unit: 64 MiB, 1 GB"}),
]
Share = Annotated[
    float,
    BeforeValidator(share),
    WithJsonSchema({**_TEXT, "description": "a share in percent: 10%"}),
]
Limit = Annotated[
    float,
    BeforeValidator(number),
    WithJsonSchema({**_NUMBER_OR_TEXT, "description": "a number: 5, 10%, 250ms, 64 MiB"}),
]
Retention = Annotated[
    str | float,
    BeforeValidator(retention),
    WithJsonSchema({**_TEXT, "description": "keep, or a duration like 30d"}),
]
