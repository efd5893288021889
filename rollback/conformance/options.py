"""What `pytest --pyargs rollback.conformance` is told: which kind, and what to try it on.

pytest finds this by the entry point of our distribution, since a conftest inside an installed package
is read too late to have options.

Hides: when pytest wants what.
Never: costs a session of somebody else's tests more than this file.
"""

from __future__ import annotations

import pytest

PACKAGE = "rollback.conformance"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--kind` and `--example` stand in a group of their own."""
    group = parser.getgroup(PACKAGE, "contracts of a kind: pytest --pyargs rollback.conformance")
    group.addoption("--kind", action="append", default=[], metavar="MODULE:CLASS",
                    help="the kind that is tried; may be given several times")  # fmt: skip
    group.addoption("--example", metavar="MODULE:FUNCTION", default="",
                    help="what it is tried on; by default the function `example` of its module")  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """The kinds are there, with their examples; else one line and exit status 4."""
    words = config.getoption("--kind")
    if not words:
        if any(arg.partition("::")[0].startswith(PACKAGE) for arg in config.args):
            raise pytest.UsageError(
                "--kind is missing: say which kind keeps the contracts, like --kind mine.checks:Uptime"
            )
        return
    from rollback.conformance import asked  # what follows imports half of the product

    config.stash[asked.CASES] = asked.cases(
        words, config.getoption("--example"), str(config.invocation_params.dir)
    )
