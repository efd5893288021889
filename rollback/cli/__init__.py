"""The command line: one file per command, and all printing.

Hides: click.
Never: does work; it asks the rooms below and shows what they say.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """The program `rollback`: parse, run, exit with the declared status."""
    # Nothing is begun yet: an interrupt just ends us, without a traceback of what is being imported.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Nothing that happens to be installed takes part in reading a declaration; looking for it
    # costs 15 ms, too.
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
    from rollback.cli.group import cli

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a mark that the terminal does not know stops nothing
            stream.reconfigure(errors="backslashreplace")
    sys.exit(cli.run(sys.argv[1:]))
