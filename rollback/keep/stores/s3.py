"""A place in object storage that speaks S3: packs are whole objects, read by ranges.

One state directory writes to one prefix: its claim stands there, and another one's is refused. With
`writers: many` a lock is held while copies are written. Its number is had by creating an object
that was not there, which is believed only after a race of many creators of one key had one winner
each time; it ends by itself, is renewed while work goes on, and the highest number is the holder.
Who is not asks before each write that counts, and does not write.

Hides: the claim, the race, the numbers of the lock.
Never: believes that a server honours a condition because it says so; counts on one but that.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import model_validator

from rollback.host import Host
from rollback.host.bucket import PART_BYTES, Bucket
from rollback.host.clock import iso, parse_iso
from rollback.keep.place import DAMAGED, Place, Reference, StoreKind
from rollback.keep.reference import value
from rollback.model.errors import HostError, Refused, RunLocked
from rollback.model.event import canonical
from rollback.model.quantity import Seconds
from rollback.model.registry import register, spelt

CREATORS = 8  # at once, of one key
ROUNDS = 6
LEASE = timedelta(minutes=15)
RENEWED_S = LEASE.total_seconds() / 3  # after that long the next request of any kind renews it
_LOCK = "lock"
_HARMLESS = "packs/"  # a pack counts for nothing until a record names it


@dataclass
class _Held:
    """The lock that this one has: its number, and when it was renewed by the clock of this boot."""

    number: int
    holder: str
    renewed_s: float
    lost: bool = False  # another one has a higher number


class S3:
    """A Place in a bucket."""

    def __init__(self, bucket: Bucket, host: Host, *, many: bool) -> None:
        self._bucket = bucket
        self._host = host
        self._many = many
        self._locks = not many  # whether a lock can be had; with many it has to be shown first
        self._held: _Held | None = None

    def names(self, folder: str) -> list[str]:
        """The names of the objects in a folder."""
        return sorted(self.sizes(folder))

    def sizes(self, folder: str) -> dict[str, int]:
        """The bytes of each object in a folder."""
        self._hold()
        return self._bucket.sizes("" if folder == "." else folder)

    def size(self, name: str) -> int:
        """Bytes."""
        return self._bucket.size(name)

    def read(self, name: str, offset: int, size_bytes: int) -> bytes:
        """At most that many bytes from there on, in parts of a few megabytes."""
        parts = []
        for at in range(offset, offset + size_bytes, PART_BYTES):
            self._hold()
            wanted = min(PART_BYTES, offset + size_bytes - at)
            parts.append(self._bucket.read(name, at, wanted))
            if len(parts[-1]) < wanted:
                break
        return b"".join(parts)

    def create(self, name: str, chunks: Iterable[bytes]) -> None:
        """The object is there, whole."""
        self._hold(name)
        self._bucket.put(name, chunks)

    def replace(self, name: str, data: bytes | Iterable[bytes]) -> None:
        """The object is exactly `data`, or what it was."""
        self._hold(name)
        self._bucket.put(name, data if isinstance(data, bytes) else b"".join(data))

    def remove(self, name: str) -> None:
        """The object is gone."""
        self._hold(name, counts=True)
        self._bucket.remove(name)

    def set_aside(self, name: str) -> None:
        """The object lies in `damaged/`, under its own name."""
        self._hold(name, counts=True)
        self._bucket.copy(name, f"{DAMAGED}/{os.path.basename(name)}")
        self._bucket.remove(name)

    def sweep(self) -> None:
        """Nothing: an object is there whole or not at all."""

    def forget(self, name: str) -> None:
        """Nothing: there is no cache on this side."""

    def close(self) -> None:
        """Nothing is held open."""

    # -- one writer ------------------------------------------------------------------------

    @contextmanager
    def lock(self, *, shared: bool = False, within_s: float = 10.0) -> Iterator[None]:
        """With many writers, only this one writes for a while; else there is nobody to keep out.

        Raises: Refused where conditions cannot be relied on; RunLocked.
        """
        if shared or not self._many:
            yield
            return
        if not self._locks:
            self.prove()
        mine = self._host.token(16)
        if not self._host.clock.poll(lambda: self._take(mine), within_s=within_s, every_s=0.5):
            raise RunLocked("another writer copies to this bucket", where=self._bucket.where + _LOCK,
                            hint=f"wait; its lock ends by itself after {LEASE}")  # fmt: skip
        try:
            yield
        finally:
            held, self._held = self._held, None
            with suppress(HostError):
                if held is not None and not held.lost and self._is_last(held.number):
                    self._bucket.put(_object(held.number), self._body(mine, lasts=timedelta(0)))

    def _take(self, mine: str) -> bool:
        """True when the next number is ours: the one before has ended, also after we took ours.

        A holder that renews its own looks for the next one afterwards, and we look at its own after
        we made the next: one of the two sees the other.
        """
        before = self._numbers()
        last = before[-1] if before else 0
        if last and self._lasts(last):
            return False
        if not self._bucket.create(_object(last + 1), self._body(mine)):
            return False
        if (last and self._lasts(last)) or not self._is_last(last + 1):
            self._bucket.remove(_object(last + 1))
            return False
        self._held = _Held(last + 1, mine, self._host.clock.boot_s())
        for number in before:
            self._bucket.remove(_object(number))
        return True

    def _hold(self, name: str = "", *, counts: bool = False) -> None:
        """The lock is ours, if it has to be, for long enough; asked anew before a write that counts.

        Raises: RunLocked when it is another's by now, and from then on.
        """
        held = self._held
        if held is None:
            return
        now_s = self._host.clock.boot_s()
        counts = counts or (bool(name) and not name.startswith(_HARMLESS))
        if not counts and not held.lost and now_s - held.renewed_s < RENEWED_S:
            return
        held.lost = held.lost or not self._is_last(held.number)
        if not held.lost:
            self._bucket.put(_object(held.number), self._body(held.holder))
            held.lost = not self._is_last(held.number)
        if held.lost:
            raise RunLocked(
                "another writer has taken over this bucket: our lock ended before our work did",
                where=self._bucket.where + _LOCK, hint="rollback checkpoint copy",
            )  # fmt: skip
        held.renewed_s = now_s

    def _is_last(self, number: int) -> bool:
        return self._numbers()[-1:] == [number]

    def _numbers(self) -> list[int]:
        """The numbers of the locks that are there; the last one holds, or held."""
        return sorted(int(one) for one in self._bucket.sizes(_LOCK) if one.isdecimal())

    def _lasts(self, number: int) -> bool:
        """True while the lock of this number has not ended, by the clocks of its machine and ours."""
        try:
            held = self._bucket.whole(_object(number))
        except FileNotFoundError:
            return False
        return _ends(held) > iso(self._host.clock.now())

    def _body(self, holder: str, *, lasts: timedelta = LEASE) -> bytes:
        until = iso(self._host.clock.now() + lasts)
        return canonical({"holder": holder, "host": os.uname().nodename, "until": until})

    def prove(self) -> None:
        """Of many creators of one key at once exactly one wins, and the object is listed; each round.

        Raises: Refused where two win, or none, or where it is not listed.
        """
        key = self._host.token(8)
        with ThreadPoolExecutor(CREATORS) as pool:
            for number in range(ROUNDS):
                name = f"probe/{key}-{number}"
                try:
                    won = list(pool.map(lambda who, name=name: self._bucket.create(name, b"%d" % who),
                                        range(CREATORS)))  # fmt: skip
                    listed = f"{key}-{number}" in self._bucket.sizes("probe")
                finally:
                    self._bucket.remove(name)
                if sum(won) == 1 and listed:
                    continue
                said = f"{sum(won)} of {CREATORS} creators of one key won at once" if listed else (
                    "an object that was made is not listed at once")  # fmt: skip
                raise Refused(
                    "writers: many", f"{said}: a lock in this object storage keeps nobody out",
                    where=self._bucket.where,
                    hint="write writers: one, and give every writer a prefix of its own",
                )  # fmt: skip
        self._locks = True


def _object(number: int) -> str:
    return f"{_LOCK}/{number:012}"


def _ends(body: bytes) -> str:
    """Until when a lock holds; one that cannot be read holds for ever."""
    with suppress(ValueError, TypeError, KeyError):
        until = str(json.loads(body)["until"])
        parse_iso(until)
        return until
    return "9999"


@register("store", "s3")
class S3Store(StoreKind):
    """`s3: {bucket: …}`: object storage. `within` is the deadline of each request.

    `access_key` and `secret_key` are references. An `endpoint` without TLS is one of this machine.
    """

    remote = True

    bucket: Annotated[
        str,
        spelt(
            r"\A[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\z",
            "use 3 to 63 of a-z, 0-9, '.' and '-', first and last a letter or digit",
        ),
    ]
    prefix: Annotated[
        str,
        spelt(
            r"\A[A-Za-z0-9._/-]{0,200}\z",
            "use letters, digits, '.', '_', '-' and '/', at most 200",
        ),
    ] = ""
    endpoint: (
        Annotated[
            str,
            spelt(
                r"\Ahttps?://[^\s@/]+\z",
                "write https://HOST or https://HOST:PORT, without a path",
            ),
        ]
        | None
    ) = None
    region: Annotated[
        str,
        spelt(
            r"\A[a-z0-9-]{1,40}\z",
            "write it like eu-central-1",
        ),
    ] = "us-east-1"
    access_key: Reference
    secret_key: Reference
    within: Seconds = 60.0
    writers: Literal["one", "many"] = "one"

    @model_validator(mode="after")
    def _private(self) -> S3Store:
        if self.endpoint and self.endpoint.startswith("http://"):
            host = self.endpoint.removeprefix("http://").rpartition(":")[0] or self.endpoint[7:]
            if host not in ("localhost", "127.0.0.1", "[::1]"):
                raise ValueError(
                    f"{self.endpoint} is another machine, reached without TLS: use https"
                )
        return self

    @property
    def claimed(self) -> bool:
        """True unless many writers were asked for."""
        return self.writers == "one"

    def place(self, host: Host, *, base: str, make: bool = False) -> Place:
        """The bucket; nothing is asked of it yet, and it is never made."""
        bucket = Bucket(
            self.bucket, self.prefix, endpoint=self.endpoint, region=self.region,
            access_key=value(self.access_key, base=base),
            secret_key=value(self.secret_key, base=base), within_s=self.within, tap=host.tap,
        )  # fmt: skip
        return S3(bucket, host, many=self.writers == "many")

    def address(self, *, base: str) -> str:
        """Bucket and prefix, and where they are."""
        at = f" at {self.endpoint}" if self.endpoint else ""
        return f"s3://{self.bucket}/{self.prefix.strip('/')}{at}"
