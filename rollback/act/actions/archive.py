"""Step `archive`: components as one .tar.gz in a declared place, read back and hashed.

They are captured first, so a database is in it as of one moment, and what changes while it is
read stops the step.

Hides: the checkpoint that it is packed from.
Never: writes over an archive; leaves half of one under its name; fills a place past its limit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from rollback.keep.outside import path_of, place, present, room, within
from rollback.model.errors import HostError, PlanError, StoreError
from rollback.model.finding import Answer, Finding, Json, failed, passed
from rollback.model.quantity import Seconds
from rollback.model.registry import nearest, register
from rollback.model.step import Alters, Id, Step, Text

if TYPE_CHECKING:
    from rollback.act.scene import Scene
    from rollback.host import Tree

ENDING = ".tar.gz"
_COMMITS_MAX = 10_000


@register("action", "archive")
class ArchiveStep(Step):
    """`components` without what `exclude` names go to `name`.tar.gz in `place`.

    `name` may hold {date}, {time}, {epoch} and {run}; where it is taken, `.2` is added. `git_log`
    adds the commits of that long as git-log.txt. The manifest is the member MANIFEST.sha256.
    """

    alters: ClassVar[Alters] = "running"
    components: Literal["all"] | tuple[Id, ...] = Field(min_length=1)
    place: Id
    name: Text = "{date}-{time}-{run}"
    exclude: tuple[Text, ...] = ()
    git_log: Seconds | None = None

    def bind(self, scene: Scene) -> dict[str, Json]:
        """The file that it will be, and what goes into it."""
        known = scene.system.components
        chosen = tuple(known) if self.components == "all" else self.components
        for one in chosen:
            if one not in known:
                raise PlanError(f"there is no component {one}", hint=nearest(one, tuple(known)))
        name = scene.named(self.name)
        if "/" in name or name.startswith("."):
            raise PlanError(f"{name!r} is no name for a file", where=self.place)
        file = os.fsencode(name + ENDING)
        path_of(scene.system, self.place, "archive")
        if present(scene.system, self.place, "archive"):
            with place(scene.system, scene.host, self.place, "archive") as tree:
                number = 1
                while tree.stat(file) is not None:
                    number += 1
                    file = os.fsencode(f"{name}.{number}{ENDING}")
        return {"file": os.fsdecode(file), "components": list(chosen)}

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """What goes where."""
        where = os.fsdecode(path_of(scene.system, self.place, "archive"))
        lines = [f"{', '.join(_components(scene))} into {where}/{scene.bound['file']}"]
        lines += [f"without {one}" for one in self.exclude]
        return tuple(lines)

    def touches(self, _scene: Scene) -> tuple[str, ...]:
        """Nothing of the system."""
        return ()

    def apply(self, scene: Scene) -> dict[str, Json]:
        """The archive stands under its name, durable and read back."""
        file = os.fsencode(str(scene.bound["file"]))
        with place(scene.system, scene.host, self.place, "archive", make=True) as tree:
            tree.sweep()
            if tree.stat(file) is not None:
                finding = self._seen(scene, tree, file)
                if finding.answer is not Answer.PASS:
                    raise HostError(finding.evidence, where=tree.place(file))
                return {"changed": 0, **finding.details}
            return {"changed": 1, **self._pack(scene, tree, file)}

    def probe(self, scene: Scene) -> Finding:
        """Is it there, whole, with every component in it?"""
        if not present(scene.system, self.place, "archive"):
            return failed(f"place {self.place} is not there yet")
        with place(scene.system, scene.host, self.place, "archive") as tree:
            return self._seen(scene, tree, os.fsencode(str(scene.bound["file"])))

    def undo(self, scene: Scene) -> None:
        """The archive stays: it changed nothing of the system, and is evidence."""

    # -- inside ----------------------------------------------------------------------------

    def _pack(self, scene: Scene, tree: Tree, file: bytes) -> dict[str, Json]:
        from rollback.keep.packing import Packing, verify_packed

        left = room(scene.system, self.place, tree)
        names = _components(scene)
        with scene.checkpoints as kept:
            # of the kind that nobody goes back to unasked: it may be of a broken present
            made = kept.create(None, kind="safety", components=names,
                               reason=f"packed by step {scene.step} of run {scene.run}")  # fmt: skip
            with kept.store.lock(shared=True):
                parts = {scene.system.components[name].path: kept.manifest(made.id, name)
                         for name in names}  # fmt: skip
                packing = Packing(
                    kept.store, parts, self.exclude, self._extra(scene),
                    int(scene.host.clock.now().timestamp()), progress=scene.progress,
                )  # fmt: skip

                def counted_chunks() -> Iterator[bytes]:
                    size = 0
                    for chunk in packing.chunks():
                        size += len(chunk)
                        within(scene.system, self.place, tree.path, size, left)
                        yield chunk

                staged = tree.stage(file, counted_chunks(), mode=0o600)
        try:
            digest = verify_packed(tree, staged, packing.digests, scene.progress)
            tree.move(staged, tree, file)
        except BaseException:
            if tree.stat(staged) is not None:
                tree.unlink(staged)
            raise
        tree.sync_folder()
        return {"archive": tree.place(file), "sha256": digest, "size_bytes": tree.size(file),
                "members": packing.members, "checkpoint": made.id}  # fmt: skip

    def _seen(self, scene: Scene, tree: Tree, file: bytes) -> Finding:
        from rollback.keep.archive import read_archive

        if tree.stat(file) is None:
            return failed(f"there is no {os.fsdecode(file)}")
        try:
            found = read_archive(tree, file, scene.progress)
        except (StoreError, OSError) as error:
            return failed(str(error))
        return passed(f"{os.fsdecode(file)} holds {len(found.entries)} members",
                      archive=found.path, sha256=found.digest, size_bytes=found.size_bytes)  # fmt: skip

    def _extra(self, scene: Scene) -> dict[str, bytes]:
        if self.git_log is None:
            return {}
        since = scene.host.clock.now() - timedelta(seconds=self.git_log)
        with scene.repository() as repository:
            lines = [f"{one.commit.id} {one.commit.at.isoformat()} {one.commit.subject}\n"
                     for one in repository.log(".", limit=_COMMITS_MAX)
                     if one.commit.at >= since]  # fmt: skip
        return {"git-log.txt": "".join(lines).encode("utf-8", "surrogateescape")}


def _components(scene: Scene) -> tuple[str, ...]:
    found = scene.bound["components"]
    assert isinstance(found, list)
    return tuple(map(str, found))
