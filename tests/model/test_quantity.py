"""Numbers with units: what is written comes out in seconds, bytes and fractions, or is refused."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback.model.quantity import duration_s, number, retention, share, size_bytes

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@given(st.integers(0, 500), st.sampled_from(sorted(UNITS)), st.sampled_from(["", " "]))
def test_a_duration_is_its_number_times_its_unit(amount: int, unit: str, space: str) -> None:
    assert math.isclose(duration_s(f"{amount}{space}{unit}"), amount * UNITS[unit])


@given(st.text(max_size=12))
def test_any_other_text_is_refused_or_read_as_a_finite_number(text: str) -> None:
    for read in (duration_s, size_bytes, share, number):
        with contextlib.suppress(ValueError):
            value = read(text)
            assert math.isfinite(value)
            assert value >= 0


@pytest.mark.parametrize(
    "written",
    ["5", "-1s", "1 s s", "1S", "٣s", "1_0s", "0x1s", "1e3s", "s", "", None, 5, True, "1s\n"],
)
def test_what_is_no_duration_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        duration_s(written)


@pytest.mark.parametrize(
    ("written", "value"),
    [(5, 5.0), (1.5, 1.5), ("10%", 0.1), ("250ms", 250.0), ("2s", 2.0), ("64 MiB", 67108864.0)],
)
def test_a_limit_is_a_plain_number(written: object, value: float) -> None:
    assert number(written) == value


@pytest.mark.parametrize("written", [math.nan, math.inf, -math.inf, 1e16, True, None, "x", [], {}])
def test_a_limit_is_never_without_a_meaning(written: object) -> None:
    with pytest.raises(ValueError, match="number"):
        number(written)


def test_retention_is_for_ever_or_a_time() -> None:
    assert retention("keep") == "keep"
    assert retention("2d") == 172800.0
    with pytest.raises(ValueError, match="duration"):
        retention("forever")
