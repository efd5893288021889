"""What every command starts from: the declaration, the opened system, and where to print.

Hides: when kinds are imported and the declaration is read: only by commands that need it.
Never: prints by itself.
"""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rollback.cli import given
from rollback.cli.pasted import options, pasted
from rollback.cli.show import plain_json, silence
from rollback.host import Host
from rollback.model.errors import NotAuthorized, UsageError
from rollback.model.event import Event
from rollback.model.system import System

if TYPE_CHECKING:
    from rollback.act.site import Site
    from rollback.cli.bar import Bar
    from rollback.cli.timeline import Live
    from rollback.declare import Reading

Listener = Callable[[Event], None]


class Desk:
    """One call of the program."""

    def __init__(self) -> None:
        self._declaration: str | None = None
        self._state: str | None = None
        self.as_json = False
        self.host = Host()

    def take(self, *, declaration: str | None, state: str | None, as_json: bool) -> None:
        """What was typed before the command holds for this call."""
        self._declaration, self._state, self.as_json = declaration, state, as_json

    def pasted(self, text: str) -> str:
        """The text, its commands such that they mean this system when they are pasted here."""
        return pasted(text, options(self._declaration, self._state))

    def live(self) -> Live:
        """What is said on standard error while a run goes on."""
        from rollback.cli.timeline import Live

        return Live(quiet=self.as_json, pasted=self.pasted)

    @cached_property
    def bar(self) -> Bar:
        """Where long work shows how far it is."""
        from rollback.cli.bar import Bar

        return Bar(quiet=self.as_json)

    @property
    def declaration(self) -> Path:
        """The file that is, or would be, loaded."""
        return Path(self._declaration or "rollback.yaml").absolute()

    @property
    def state(self) -> Path | None:
        """The state directory, where one was named."""
        return Path(self._state) if self._state else None

    @cached_property
    def system(self) -> System:
        """The declared system. Raises: SpecError with every problem."""
        return self._reading.system

    @cached_property
    def _reading(self) -> Reading:
        import rollback.kinds  # noqa: F401 - finds every kind
        from rollback.declare import Reading

        return Reading(self.declaration, state=self.state, environ=os.environ)

    @contextmanager
    def site(self, *, create: bool = True, listen: Listener | None = None) -> Iterator[Site]:
        """The system, opened; use it in `with`. What was read of it is kept for the next call."""
        from rollback.act.site import Site
        from rollback.declare import secret_values

        hidden = secret_values(self.system)

        def heard(event: Event) -> None:
            self.bar.clear()
            if listen:
                listen(event)

        with Site.open(
            self.system, self.host, create=create, secrets=hidden, listen=heard,
            progress=self.bar,
        ) as site:  # fmt: skip
            self._say_drained(site)
            try:
                yield site
            finally:
                self.bar.clear()
            if create:
                self._reading.keep(site.state.tree)

    def _say_drained(self, site: Site) -> None:
        """What a checkpoint that was killed left drained is said by whoever comes next."""
        if not any(event.kind == "cut.draining" for event in site.journal.events()):
            return
        from rollback.act.cut import RESUME, still_drained

        names = still_drained(site.journal.events())
        if names:
            said = f"drained for a checkpoint and not resumed: {', '.join(names)}"
            click.echo(f"rollback: {said}\n  try: {self.pasted(RESUME)}", err=True)

    @contextmanager
    def look(self) -> Iterator[Site]:
        """The system, opened to be looked at; use it in `with`.

        Where nothing was ever kept, what a look notes lies aside and is gone with it. Raises:
        JournalError when not even the folder is there in which the state directory would be.
        """
        from rollback.act.site import Site

        if self.system.state_path.parent.is_dir() and not os.path.lexists(self.system.state_path):
            with Site.nothing_yet(self.system, self.host) as site:
                yield site
            return
        with self.site(create=False) as site:
            yield site

    def person(self, given: str | None) -> str:
        """Who is typing: as given, or the declared person with this user's name, or the only one.

        Raises: NotAuthorized.
        """
        return self.one_of(tuple(member.id for member in self.system.people.members), given)

    def one_of(self, members: tuple[str, ...], given: str | None) -> str:
        """Who of these is typing. Raises: NotAuthorized."""
        if given:
            if given not in members:
                known = ", ".join(members) or "none is declared"
                raise NotAuthorized(
                    f"{given} is not one of the declared people", hint=f"people: {known}"
                )
            return given
        if self.user in members:
            return self.user
        if len(members) == 1:
            return members[0]
        raise NotAuthorized(
            f"who is typing? {self.user or 'this user'} is not one of the declared people",
            hint=f"add --as {members[0] if members else 'PERSON'}",
        )

    def asker(self) -> str:
        """Who is typing, as far as that is known: to look at a plan nobody has to be declared."""
        try:
            return self.person(None)
        except NotAuthorized:
            return self.user or "somebody"

    @property
    def user(self) -> str:
        """The name of the user who is logged in; "" for a uid without a name."""
        try:
            return getpass.getuser()
        except (KeyError, OSError):
            return ""

    def out(self, body: Any, lines: Callable[[], list[str]]) -> None:
        """`body` as JSON where that was asked for, else the lines for people.

        A reader that has left stops nothing: the exit status still tells the outcome.
        """
        self.bar.clear()
        said = [plain_json(body)] if self.as_json else [self.pasted(line) for line in lines()]
        try:
            for line in said:
                click.echo(line)
            if sys.stdout is not None:
                sys.stdout.flush()
        except BrokenPipeError:
            silence()

    def confirm(self, question: str) -> bool:
        """A person at a terminal said yes. Raises: UsageError without a terminal."""
        if not (sys.stdin and sys.stdin.isatty()) or self.as_json:
            raise UsageError(question, hint="add --yes to confirm without a terminal")
        return click.confirm(question, err=True)


def pass_desk(command: Callable[..., int]) -> Callable[..., int]:
    """The command gets the desk first, and what was typed only if it can mean something."""

    @wraps(command)
    def called(*args: Any, **typed: Any) -> int:
        ctx = click.get_current_context()
        given.check(ctx)
        return command(ctx.ensure_object(Desk), *args, **typed)

    return called
