"""Kinds of flags: a file each.

Hides: how each is written.
Never: asks a running process.
"""
