"""The subcommands of `rollback checkpoint` that fill a file each.

Hides: nothing.
Never: does the work.
"""
