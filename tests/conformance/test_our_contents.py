"""Our kinds of contents keep the contract of their family."""

from __future__ import annotations

from rollback.conformance.test_content import *  # noqa: F403 - the contracts themselves
