"""Our kinds of notifiers keep the contract of their family."""

from __future__ import annotations

from rollback.conformance.test_notifier import *  # noqa: F403 - the contracts themselves
