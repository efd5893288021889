"""Our kinds of every family are read from declarations, and refuse what is wrong in a line."""

from __future__ import annotations

from rollback.conformance.test_declaration import *  # noqa: F403 - the contracts themselves
