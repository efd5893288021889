"""The command line: one file per command, and all printing.

Hides: click.
Never: does work; it asks the rooms below and shows what they say.
"""

from __future__ import annotations

import sys


def main() -> None:
    """The program `rollback`: parse, run, exit with the declared status."""
    from rollback.cli.group import cli

    sys.exit(cli.run(sys.argv[1:]))
