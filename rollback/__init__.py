"""Rollbacks that prove themselves: checkpoints, levels, a gate of test suites, one journal."""
