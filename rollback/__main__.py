"""`python -m rollback`: the command line."""

from rollback.cli import main

main()
