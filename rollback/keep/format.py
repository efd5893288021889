"""Which format a store is of, and what to do about one that is not ours.

Hides: how the line is spelled.
Never: reads a store of another format at best effort.
"""

from __future__ import annotations

from rollback.model.errors import StoreError

FORMAT = b"rollback-store 2\n"


def known(found: bytes, where: str) -> None:
    """The store is of our format. Raises: StoreError that says what to do with it."""
    if found == FORMAT:
        return
    ours = int(FORMAT.split()[-1])
    word, _, number = found.strip().partition(b" ")
    if word != FORMAT.split()[0] or not number.isdigit():
        raise StoreError(
            "the file that names the store's format is damaged", where=where,
            hint=f"if this version wrote the store, write the line {FORMAT.decode().strip()} into it",
        )  # fmt: skip
    if int(number) > ours:
        raise StoreError(
            f"the store is of format {int(number)}; this version reads format {ours}", where=where,
            hint="use the newer version that wrote it",
        )  # fmt: skip
    raise StoreError(
        f"the store is of format {int(number)}, and this version reads format {ours} alone", where=where,
        hint="put back what you need with the version that wrote it; then move the folder store "
        "aside and take new checkpoints",
    )  # fmt: skip
