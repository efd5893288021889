"""Our actions keep the contract of their family."""

from __future__ import annotations

from rollback.conformance.test_action import *  # noqa: F403 - the contracts themselves
