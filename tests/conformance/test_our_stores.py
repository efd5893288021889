"""Our kinds of stores keep the contract of their family."""

from __future__ import annotations

from rollback.conformance.test_store import *  # noqa: F403 - the contracts themselves
