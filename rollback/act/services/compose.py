"""Services of a compose project in the folder `cwd`.

What is declared as the environment of the service is that of docker compose itself: the file takes
it as `${NAME}`, and hands on to the container what it lists without a value.

Hides: docker compose.
Never: takes a service that the project does not define for a stopped one.
"""

from __future__ import annotations

from typing import ClassVar

from rollback.act.programs import ask, tell, words
from rollback.host.processes import Completed
from rollback.model.component import Service
from rollback.model.errors import HostError, Unmanaged
from rollback.model.registry import Kind, register
from rollback.observe.service import Running
from rollback.observe.view import View

_FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")


@register("service", "compose")
class ComposeService(Kind):
    """`unit` is the name of the service in the project."""

    own_environment: ClassVar[bool] = False

    def start(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The containers run; their images and neighbours are left as they are."""
        if self.look(name, service, view):
            return f"{name} was running already"
        told = _tell(service, view, "up", "--detach", "--no-deps", "--no-build", within_s=within_s)
        self._expect(name, service, view, runs=True)
        return told

    def stop(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The containers have ended; they stay, with what is in them."""
        if not self.look(name, service, view):
            return f"{name} was stopped already"
        grace = str(max(1, int(service.stop.grace)))
        told = _tell(service, view, "stop", "--timeout", grace, within_s=within_s)
        self._expect(name, service, view, runs=False)
        return told

    def reload(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The containers got the declared signal, or the declared program ran."""
        if not self.look(name, service, view):
            raise HostError(f"{name} is not running and cannot be reloaded", where=name)
        if service.reload is None:
            raise HostError(f"{name} declares no way to reload", where=name,
                            hint="declare reload: {signal: HUP}")  # fmt: skip
        if service.reload.argv is not None:
            return tell(
                view, service.reload.argv, within_s=within_s, environment=service.environment
            )
        signal = f"SIG{service.reload.signal}"
        return _tell(service, view, "kill", "--signal", signal, within_s=within_s)

    def look(self, name: str, service: Service, view: View) -> Running | None:
        """The ids of the running containers. Raises: Unmanaged for a service it does not define."""
        known = _ask(service, view, "config", "--services")
        if known.status != 0:
            folder = view.root / service.cwd
            nowhere = not any((one / file).exists() for one in (folder, *folder.parents)
                              for file in _FILES)  # fmt: skip
            raise (Unmanaged if nowhere else HostError)(
                f"docker compose config ended with status {known.status}: whether {name} runs "
                f"cannot be established: {words(known)[-200:]}", where=service.cwd,
                hint="look with: docker compose config --services",
            )  # fmt: skip
        if _unit(service) not in words(known).split():
            raise Unmanaged(
                f"the project does not define {_unit(service)}: whether {name} runs cannot be established",
                where=service.cwd, hint="look with: docker compose config --services",
            )  # fmt: skip
        done = _ask(service, view, "ps", "--quiet", "--status", "running", _unit(service))
        if done.status != 0:
            raise HostError(f"docker compose ps ended with status {done.status}", where=name)
        containers = done.stdout.decode("utf-8", "replace").split()
        return Running(" ".join(sorted(containers))) if containers else None

    def _expect(self, name: str, service: Service, view: View, *, runs: bool) -> None:
        if bool(self.look(name, service, view)) is not runs:
            raise HostError(f"{name} {'does not run' if runs else 'still runs'}", where=name,
                            hint=f"look with: docker compose logs {_unit(service)}")  # fmt: skip


def _ask(service: Service, view: View, *words: str) -> Completed:
    return ask(view, (*_compose(service, view), *words), environment=service.environment)


def _tell(service: Service, view: View, *words: str, within_s: float) -> str:
    argv = (*_compose(service, view), *words, _unit(service))
    return tell(view, argv, within_s=within_s, environment=service.environment)


def _compose(service: Service, view: View) -> tuple[str, ...]:
    return ("docker", "compose", "--project-directory", str(view.root / service.cwd))


def _unit(service: Service) -> str:
    assert service.unit is not None, "proved by the declaration"
    return service.unit
