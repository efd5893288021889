"""What a system is called, and which version of its declaration this is.

Hides: nothing.
Never: anything but names and dates.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rollback.model.registry import Declared
from rollback.model.step import Date, Id, Text


class Identity(Declared):
    """What the system is called, and which version of its declaration this is."""

    id: Id
    title: Text
    version: Annotated[str, Field(min_length=1, max_length=64)]
    date: Date
    next_review: Date
    purpose: Text | None = None
