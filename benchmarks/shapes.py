"""What the store is measured on: trees of files, filled and damaged the same way each time.

Hides: that content is half noise and half text, so that it packs to about three quarters.
Never: uses a clock or another seed than the shape's own.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE = 4096


@dataclass(frozen=True)
class Shape:
    """Files to be kept: how many, how large, in folders of how many."""

    id: str
    count: int
    low: int
    high: int
    per_folder: int


SHAPES = (
    Shape("small_files", 20_000, 1024, 8192, 50),
    Shape("medium_files", 2_000, 256 * 1024, 1024 * 1024, 20),
    Shape("one_big_file", 1, 2**30, 2**30, 1),
)


def paths(shape: Shape) -> Iterator[Path]:
    """The files, relative."""
    for number in range(shape.count):
        folder = number // shape.per_folder
        yield Path(f"d{folder % 16:02}", f"e{folder:04}", f"f{number:05}")


def fill(root: Path, shape: Shape) -> None:
    """Every file, half of it text-like, the same each time."""
    chance = random.Random(shape.id)
    for path in paths(shape):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        left = chance.randint(shape.low, shape.high)
        with (root / path).open("wb") as file:
            while left > 0:
                size = min(left, 2**20)
                noise = chance.randbytes(size // 2)
                file.write(noise + noise.hex().encode()[: size - len(noise)])
                left -= size


def damage(root: Path, shape: Shape, share: float, seed: int) -> None:
    """That share of the files (or of the pages of the one file) holds other bytes."""
    chance = random.Random(f"{shape.id} {seed}")
    if shape.count == 1:
        with (root / next(paths(shape))).open("r+b") as file:
            for page in chance.sample(range(2**30 // PAGE), int(2**30 // PAGE * share)):
                file.seek(page * PAGE)
                file.write(chance.randbytes(PAGE))
        return
    everything = list(paths(shape))
    for path in chance.sample(everything, max(1, int(len(everything) * share))):
        with (root / path).open("r+b") as file:
            file.write(chance.randbytes(min(shape.low, 65536)))


def digest(root: Path) -> str:
    """One SHA-256 over every path below, its type and its bytes; `.git` at the top aside."""
    whole = hashlib.sha256()
    for folder, folders, files in os.walk(root):
        folders.sort()
        if Path(folder) == root and ".git" in folders:
            folders.remove(".git")
        for name in sorted(files):
            path = Path(folder, name)
            whole.update(os.fsencode(path.relative_to(root)) + b"\0")
            with path.open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()
