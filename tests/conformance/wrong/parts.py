"""Managers of services, flags and contents that are wrong, each in one way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from rollback.act.flag import Slot, file_slot
from rollback.conformance import Example
from rollback.conformance.world import World
from rollback.keep.content import Restore, Site
from rollback.keep.contents.files import Files
from rollback.model.component import Flag, Service
from rollback.model.errors import HostError, PlanError
from rollback.model.registry import Kind, register
from rollback.observe.service import Running
from rollback.observe.view import View
from tests.conformance.wrong import wrong


class Switch(Kind):
    """A service that is a file: there while it runs. The folder `desk` is its manager."""

    own_environment: ClassVar[bool] = True

    def look(self, name: str, service: Service, view: View) -> Running | None:
        self.here(view)
        return Running("one") if self.file(view).exists() else None

    def start(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        self.here(view)
        self.file(view).touch()
        return "it was started"

    def stop(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        self.here(view)
        self.file(view).unlink(missing_ok=True)
        return "it was stopped"

    def reload(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        if self.look(name, service, view) is None:
            raise HostError("it does not run")
        return "it was reloaded"

    def here(self, view: View) -> None:
        if not (view.root / "desk").is_dir():
            raise HostError("nobody is at the desk")

    def file(self, view: View) -> Path:
        return view.root / "desk" / "runs"


@register("service", "switch")
class RightService(Switch):
    """The right one."""


@wrong("what_it_cannot_tell_is_never_stopped", "whether it runs cannot be told, and look says None")
@register("service", "stopped-for-all-i-know")
class StoppedForAllIKnow(Switch):
    """Takes a manager that is not there for a stopped service."""

    def look(self, name: str, service: Service, view: View) -> Running | None:
        return Running("one") if self.file(view).exists() else None


class Line(Kind):
    """A flag in one line of an env file."""

    def slots(self, flag: Flag) -> tuple[Slot, ...]:
        assert flag.layered is not None
        assert flag.layered.env_file is not None
        return (file_slot("env", flag.layered.env_file, "env", None),)

    def slot(self, flag: Flag, layer: str | None, value: Any, read: Any) -> Slot:
        if layer is not None:
            raise PlanError("there is one layer")
        return replace(self.slots(flag)[0], value=value)

    def effective(self, flag: Flag, read: Any) -> Any:
        (slot,) = self.slots(flag)
        return slot.written(read(slot.path) or b"")


@register("flag", "line")
class RightFlag(Line):
    """The right one."""


class _Blunt(Slot):
    """Writes the whole file anew."""

    def change(self, data: bytes) -> bytes:
        return b"" if self.value is None else f"{self.key}={self.value}\n".encode()


@wrong("no_other_byte_changes", "set and set back, .env is not as it was: other bytes changed")
@register("flag", "blunt")
class BluntFlag(Line):
    """Loses its neighbours when it is taken out, and again when it is set."""

    def slot(self, flag: Flag, layer: str | None, value: Any, read: Any) -> Slot:
        found = super().slot(flag, layer, value, read)
        if value is True:
            return found
        return _Blunt(found.layer, found.path, found.format, found.key, found.value)


@register("content", "tree")
class RightContent(Files):
    """The right one."""


@wrong("what_was_captured_comes_back", "lost: after the restore it is not what was captured")
@register("content", "keeps-some")
class KeepsSome(Files):
    """Puts back what changed, and not what is gone."""

    def restore(self, site: Site, manifest: Any, how: Restore) -> Any:
        gone = [path for path in ("it/deep", "it/deep/more") if site.root.stat(path) is None]
        found = super().restore(site, manifest, how)
        for path in gone:
            site.root.unlink(path)
        return found


@wrong("captured_and_compared_at_once", "captured and compared at once, it differs")
@register("content", "moves-while-it-looks")
class MovesWhileItLooks(Files):
    """Capturing is right; comparing writes."""

    def compare(self, site: Site, manifest: Any) -> Any:
        site.root.write("it/compared", b"x", mode=0o644)
        return super().compare(site, manifest)


def _desk(world: World) -> None:
    (world.root / "desk").mkdir()


def _env(world: World) -> None:
    (world.root / ".env").write_text("OTHER=1\nPARTY=true\nLAST=2\n")


def _tree(world: World) -> None:
    (world.root / "it" / "deep").mkdir(parents=True)
    (world.root / "it" / "text").write_text("text")
    (world.root / "it" / "deep" / "more").write_text("more")


EXAMPLES = {
    "service": Example(
        prepare=_desk,
        sections={"services": {"it": {"manager": "registry", "argv": ["x"], "lock": "run/it"}}},
        spoils={"nobody at the desk": lambda w: (w.root / "desk").rename(w.root / "away")}),
    "flag": Example(prepare=_env, sections={"flags": {"it": {"layered": {
        "env_file": {"path": ".env", "key": "PARTY"}, "default": True}}}}),
    "content": Example(
        prepare=_tree, sections={"components": {"it": {"path": "it", "content": "files"}}},
        spoils={"lost": lambda w: (w.root / "it/deep/more").unlink()}),
}  # fmt: skip


def example(kind: type[Kind]) -> Example:
    """What each is tried on."""
    return EXAMPLES[kind.family]
