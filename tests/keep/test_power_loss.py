"""Power loss at any change of what the store does: whatever may be on disk then, the real commands recover.

P1: every deed is done once, for real, and recorded; of each moment of it, what may be on disk (`tests.power`
says by which rules) is written to a folder, and what would come next is done there and judged. `make test`
looks at a sample, `make drill` at all: POWER_STATES is the largest number of states for each deed.

P2: the same trace with one sync left out, or one step earlier or later. Each of these has to lead to a
state in which something promised is not so, or stands in REDUNDANT with the reason why it cannot.
Two steps that are no syncs need not be swapped: what is not synced may be there in any order anyway.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.keep.deeds import DEEDS, Deed
from tests.power import UNTAPPED, Recorder, Trace, World, digest, write

FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
STATES = int(os.environ.get("POWER_STATES", "48"))
ALL = 1000  # from here on every state is looked at, not a sample
MUTANT_STATES = 200  # looked at before a mutant counts as not noticed

SOME_MUTANTS = 9  # in a sample

pytestmark = pytest.mark.timeout(3600)


class Scene:
    """A deed, done and recorded, and what became of every state that was judged so far."""

    def __init__(self, base: Path, name: str) -> None:
        self.base = base
        self.deed: Deed = DEEDS[name](base)
        recorder = Recorder(base)
        with recorder.recording():
            self.deed.do(recorder, recorder.mark)
        self.trace = recorder.trace()
        self.judged: dict[tuple[bytes, int], list[str]] = {}

    def pass_over(self) -> None:
        """What the trace as it is may leave is judged elsewhere: mutants are looked at for the rest."""
        for count in range(len(self.trace.steps) + 1):
            reported = len(self.trace.reported(count))
            for world in self.trace.after(count, random_ones=0):
                self.judged[digest(world), reported] = []

    def judge(self, world: World, reported: list[str]) -> list[str] | None:
        """What is wrong in this state; None when it was judged before."""
        key = (digest(world), len(reported))
        if key in self.judged:
            return None
        write(world, self.base)
        try:
            found = self.deed.judge(reported)
        except Exception as error:  # noqa: BLE001 - whatever it is, this is no recovery
            found = [f"{type(error).__name__}: {error}"]
        self.judged[key] = found
        return found


@pytest.fixture
def base() -> Iterator[Path]:
    above = Path(tempfile.mkdtemp(dir=FAST, prefix="power-"))
    (above / "world").mkdir(mode=0o755)
    yield above / "world"
    shutil.rmtree(above)


def states(trace: Trace) -> Iterable[tuple[int, World]]:
    """What may be on disk, and after how many steps: all of it, or a sample; the end is never left out."""
    moments = range(len(trace.steps), -1, -1)
    if STATES >= ALL:
        return ((count, world) for count in moments for world in trace.after(count, random_ones=30))
    each = max(2, STATES // len(moments))
    chosen = moments[:: max(1, 2 * len(moments) // STATES)]
    return ((count, world) for count in chosen for world in trace.some(count, each))


@pytest.mark.parametrize("name", DEEDS)
def test_whatever_a_power_loss_leaves_is_recovered(
    base: Path, name: str, record_property: Callable[[str, object], None]
) -> None:
    """Old or new; what was reported is so; what is listed hashes and restores; the journal verifies."""
    scene = Scene(base, name)
    assert scene.trace.syncs
    # nothing changes without a tap but for a file that has no name yet
    for step in scene.trace.steps:
        assert step.call != UNTAPPED or not step.names, step
    for count, world in states(scene.trace):
        found = scene.judge(world, scene.trace.reported(count))
        assert not found, (count, str(scene.trace.steps[count - 1]), found)
        if len(scene.judged) >= STATES:
            break
    record_property("states", len(scene.judged))
    print(f"{name}: {len(scene.judged)} states after a power loss were recovered")
    assert len(scene.judged) >= 10


# -- P2: does the explorer notice? ---------------------------------------------------------

# of which deeds, what was done to the sync, which sync it is (`-> ` the next step), and why no state can
# show it; the first line that fits counts
Reason = tuple[str, str, str, str]
_OUT = "left out|too early"
_ANY = "left out|left out with what follows|too early|too late"
REDUNDANT: tuple[Reason, ...] = (
    (
        ".*",
        "too late",
        r"(?!fdatasync state/journal/events).* -> (open|mkdir) .*",
        "the next change makes something empty, to which nothing refers yet",
    ),
    (
        "restore|dressed",
        "too late",
        r"fdatasync state/journal/events\.jsonl -> mkdir .*",
        "the next change makes something empty, to which nothing refers yet",
    ),
    (
        ".*",
        "too late",
        r".* -> (link [0-9]+|rmdir stage)",
        "what is in the stage counts for nothing after a crash: the same call makes it anew",
    ),
    (
        ".*",
        "too late",
        r"fsync \S+/(packs|damaged|intents)/\.rollback-tmp-\* -> rename .*",
        "the new name counts when its folder is synced and, of a pack, a record needs it: both come later",
    ),
    (
        "restore|first",
        _OUT,
        r"fsync state -> mkdir (quarantine|standby)",
        "the state directory is synced for its next folder too, before the first change",
    ),
    (
        "dressed",
        _OUT,
        r"fdatasync state/journal/events\.jsonl -> mkdir intents|fsync state(/quarantine)? -> mkdir .*",
        "where a link is staged, everything is synced at once before the first change",
    ),
    (
        ".*",
        _OUT,
        r"fsync \S+/stage -> open \.rollback-tmp-\*",
        "what is staged gets the name that counts in another folder, which is synced later",
    ),
    (
        "dressed",
        "too early",
        r"syncfs \S+ -> open \.rollback-tmp-\*",
        "what is staged last gets the name that counts in another folder, which is synced later",
    ),
    (
        ".*",
        "left out|too late",
        r"fsync \S+/kept -> rename \S+/(app|tree)/.*",
        "no folder was made in it, so it has no names yet",
    ),
    (
        ".*",
        "left out",
        r"fsync \S+(/s|/aside) -> fsync \S+/kept \(again\)",
        "its names were synced before the first thing went from the tree",
    ),
    (
        ".*",
        "left out",
        r"fsync \S+/kept -> fsync \S+/stage|fsync \S+/stage -> rmdir stage|"
        r"fsync \S+/tree/deep -> fsync \S+/aside|fsync root -> fsync state/standby/app|"
        r"fsync state/standby/app -> rename cache/.*|fsync state/store/damaged -> fsync state/store/packs",
        "a rename across two folders is on disk with either, and the other one is synced right beside it",
    ),
    (
        "swap|first|ready",
        "too early|too late",
        r"fsync root -> fsync state/standby/app|fsync state/standby/app -> rename cache/.*",
        "a rename across two folders is on disk with either, and the other one is synced right beside it",
    ),
    (
        "swap|first|ready",
        _ANY,
        r"fsync state/intents\S* -> (rename|renameat2|mkdir|unlink|rmdir|end).*",
        "a swap is one change, and a standby that is not right is made anew: neither needs its intent",
    ),
    (
        ".*",
        _ANY,
        r"fsync state/intents -> (write events\.jsonl|end)",
        "an intent that stands again makes the same restore look once more, and find nothing to do",
    ),
    (
        "first",
        _OUT,
        r"fsync state/standby/app -> fsync state/standby/app/tree",
        "a standby that is not there is not used, and the folder is synced again with the swap",
    ),
    (
        "ready",
        _ANY,
        r"fsync state/standby -> fsync state|fsync state -> mkdir standby/app/one",
        "they were made and synced when the standby first was made",
    ),
    (
        "ready",
        _ANY,
        r"fsync \S+/aside -> fsync \S+/kept",
        "what a standby that is made ready leaves aside is thrown away",
    ),
    (
        "free",
        _OUT,
        r"fsync state/store/packs -> end",
        "a pack that is there again is needed by nothing, and freed by the next pruning",
    ),
    (
        "mend",
        _ANY,
        r"fsync state/store/damaged\S* -> (open packs|rename damaged)/.*",
        "the damaged pack stands where it stood until it is moved; see `rewrite` for where it is replaced",
    ),
    (
        "mend",
        _ANY,
        r"fsync state/store/packs -> (rename damaged/.*|end)",
        "repaired objects are found again in what was set aside, and the folder is synced again at the end",
    ),
    (
        "mend|rewrite",
        "too early",
        r"fsync state/store/damaged -> .*",
        "under its temporary name, or where it stood, the damaged pack is there too",
    ),
)


def why_redundant(name: str, how: str, step: str) -> str:
    """The reason why this cannot be noticed; empty when it can."""
    return next((why for deed, done, about, why in REDUNDANT
                 if re.fullmatch(deed, name) and re.fullmatch(done, how) and re.fullmatch(about, step)),
                "")  # fmt: skip


def mutants(trace: Trace) -> Iterator[tuple[str, int, Trace]]:
    """Each sync left out, alone and with those right beside it, or swapped with a change next to it."""
    syncs = set(trace.syncs)
    for at in trace.syncs:
        yield "left out", at, trace.without(at, at)
        if at + 1 in syncs and at - 1 not in syncs:
            last = next(one for one in itertools.count(at) if one + 1 not in syncs)
            yield "left out with what follows", at, trace.without(at, last)
        if at and at - 1 not in syncs:
            yield "too early", at, trace.moved(at, at - 1)
        if at + 1 < len(trace.steps) and at + 1 not in syncs:
            yield "too late", at, trace.moved(at, at + 1)


def called(trace: Trace, at: int) -> str:
    """The step in words that are the same each time."""
    text = _words(trace, at)
    return text + " (again)" * any(_words(trace, one) == text for one in range(at))


def _words(trace: Trace, at: int) -> str:
    following = str(trace.steps[at + 1]) if at + 1 < len(trace.steps) else "end"
    text = f"{trace.steps[at]} -> {following}"
    return re.sub(r"[0-9a-f]{16,}", "*", re.sub(r"\S*/world/", "", text))


def noticed(scene: Scene, mutant: Trace, since: int) -> str:
    """The first thing that is wrong in a state that this trace may leave; empty when nothing is."""
    looked = 0
    for count in range(len(mutant.steps), max(0, since - 1), -1):
        for world in mutant.after(count, random_ones=0):
            found = scene.judge(world, mutant.reported(count))
            if found:
                return f"after {count}: {found[0]}"
            looked += found is not None
            if looked >= MUTANT_STATES:
                return ""
    return ""


@pytest.mark.parametrize("name", DEEDS)
def test_each_sync_is_needed_or_it_is_said_why_not(
    base: Path, name: str, record_property: Callable[[str, object], None]
) -> None:
    """Left out or moved, it loses something that was promised; of those in the table nothing is lost."""
    scene = Scene(base, name)
    scene.pass_over()
    found = [(how, called(scene.trace, at), at, mutant) for how, at, mutant in mutants(scene.trace)]
    if STATES < ALL:  # those that are noticed are noticed soon
        found = [one for one in found if not why_redundant(name, *one[:2])][::SOME_MUTANTS]
    caught = 0
    for how, step, at, mutant in found:
        why, said = why_redundant(name, how, step), noticed(scene, mutant, at)
        assert bool(said) != bool(why), (how, step, why, said)
        caught += bool(said)
    record_property("mutants", f"{caught} of {len(found)} noticed")
    print(f"{name}: {caught} of {len(found)} mutants noticed, of the others it is said why not")


@pytest.mark.parametrize("name", DEEDS)
def test_without_any_sync_it_is_noticed(base: Path, name: str) -> None:
    """The control: a store that never syncs loses what it reported."""
    scene = Scene(base, name)
    naive = Trace(scene.trace.begin, [step for step in scene.trace.steps if not step.syncs], [])
    naive.marks = [(len(naive.steps), what) for _, what in scene.trace.marks]
    assert noticed(scene, naive, len(naive.steps) - 1)
