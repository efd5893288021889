"""Our kinds of services keep the contract of their family."""

from __future__ import annotations

from rollback.conformance.test_service import *  # noqa: F403 - the contracts themselves
