"""Services of a compose project in the folder `cwd`.

Hides: docker compose.
Never: takes a service that the project does not define for a stopped one.
"""

from __future__ import annotations

from rollback.act.programs import ask, tell, words
from rollback.model.component import Service
from rollback.model.errors import HostError
from rollback.model.registry import Kind, register
from rollback.observe.view import View


@register("service", "compose")
class ComposeService(Kind):
    """`unit` is the name of the service in the project."""

    def start(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The containers run; their images and neighbours are left as they are."""
        if self.identity(name, service, view):
            return f"{name} was running already"
        argv = (
            *_compose(service, view),
            "up",
            "--detach",
            "--no-deps",
            "--no-build",
            _unit(service),
        )
        told = tell(view, argv, within_s=within_s)
        self._expect(name, service, view, runs=True)
        return told

    def stop(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The containers have ended; they stay, with what is in them."""
        if not self.identity(name, service, view):
            return f"{name} was stopped already"
        grace = str(max(1, int(service.stop.grace)))
        argv = (*_compose(service, view), "stop", "--timeout", grace, _unit(service))
        told = tell(view, argv, within_s=within_s)
        self._expect(name, service, view, runs=False)
        return told

    def reload(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The containers got the declared signal, or the declared program ran."""
        if not self.identity(name, service, view):
            raise HostError(f"{name} is not running and cannot be reloaded", where=name)
        if service.reload is None:
            raise HostError(f"{name} declares no way to reload", where=name,
                            hint="declare reload: {signal: HUP}")  # fmt: skip
        signal = ("kill", "--signal", f"SIG{service.reload.signal}", _unit(service))
        return tell(
            view, service.reload.argv or (*_compose(service, view), *signal), within_s=within_s
        )

    def identity(self, name: str, service: Service, view: View) -> str:
        """The ids of the running containers. Raises: HostError for a service it does not define."""
        known = ask(view, (*_compose(service, view), "config", "--services"))
        if known.status != 0 or _unit(service) not in words(known).split():
            raise HostError(
                f"the project does not define {_unit(service)}: whether {name} runs cannot be established",
                where=service.cwd, hint="look with: docker compose config --services",
            )  # fmt: skip
        argv = (*_compose(service, view), "ps", "--quiet", "--status", "running", _unit(service))
        done = ask(view, argv)
        if done.status != 0:
            raise HostError(f"docker compose ps ended with status {done.status}", where=name)
        return " ".join(done.stdout.decode("utf-8", "replace").split())

    def _expect(self, name: str, service: Service, view: View, *, runs: bool) -> None:
        if bool(self.identity(name, service, view)) is not runs:
            raise HostError(f"{name} {'does not run' if runs else 'still runs'}", where=name,
                            hint=f"look with: docker compose logs {_unit(service)}")  # fmt: skip


def _compose(service: Service, view: View) -> tuple[str, ...]:
    return ("docker", "compose", "--project-directory", str(view.root / service.cwd))


def _unit(service: Service) -> str:
    assert service.unit is not None, "proved by the declaration"
    return service.unit
