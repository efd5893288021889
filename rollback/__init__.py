"""Rollbacks that prove themselves: checkpoints, levels, a gate of test suites, one journal."""

VERSION = "0.1.0"  # as in pyproject.toml; asking the installed metadata costs 10 ms of every start
