"""Our kinds of flags keep the contract of their family."""

from __future__ import annotations

from rollback.conformance.test_flag import *  # noqa: F403 - the contracts themselves
