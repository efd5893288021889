"""A place in object storage that speaks S3: packs are whole objects, read by ranges.

One state directory writes to one prefix: its claim stands there, and another one's is refused. With
`writers: many` a lock is held while copies are written; it is a create-if-absent object, and so it
is believed only after a race of many creators of one key had one winner each time.

Hides: the claim, the race, the lock object and its lease.
Never: believes that a server honours a condition because it says so.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
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
_LOCK = "lock"


class S3:
    """A Place in a bucket."""

    def __init__(self, bucket: Bucket, host: Host, *, many: bool) -> None:
        self._bucket = bucket
        self._host = host
        self._many = many
        self._locks = not many  # whether a lock can be had; with many it has to be shown first

    def names(self, folder: str) -> list[str]:
        """The names of the objects in a folder."""
        return sorted(self.sizes(folder))

    def sizes(self, folder: str) -> dict[str, int]:
        """The bytes of each object in a folder."""
        return self._bucket.sizes("" if folder == "." else folder)

    def size(self, name: str) -> int:
        """Bytes."""
        return self._bucket.size(name)

    def read(self, name: str, offset: int, size_bytes: int) -> bytes:
        """At most that many bytes from there on, in parts of a few megabytes."""
        parts = []
        for at in range(offset, offset + size_bytes, PART_BYTES):
            wanted = min(PART_BYTES, offset + size_bytes - at)
            parts.append(self._bucket.read(name, at, wanted))
            if len(parts[-1]) < wanted:
                break
        return b"".join(parts)

    def create(self, name: str, chunks: Iterable[bytes]) -> None:
        """The object is there, whole."""
        self._bucket.put(name, chunks)

    def replace(self, name: str, data: bytes) -> None:
        """The object is exactly `data`, or what it was."""
        self._bucket.put(name, data)

    def remove(self, name: str) -> None:
        """The object is gone."""
        self._bucket.remove(name)

    def set_aside(self, name: str) -> None:
        """The object lies in `damaged/`, under its own name."""
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
            with suppress(HostError, FileNotFoundError):
                held, _ = self._bucket.tagged(_LOCK)
                if _holder(held) == mine:
                    self._bucket.remove(_LOCK)

    def _take(self, mine: str) -> bool:
        until = iso(self._host.clock.now() + LEASE)
        body = canonical({"holder": mine, "host": os.uname().nodename, "until": until})
        if self._bucket.create(_LOCK, body):
            return True
        try:
            held, tag = self._bucket.tagged(_LOCK)
        except FileNotFoundError:
            return False
        if _ends(held) > iso(self._host.clock.now()):
            return False
        return bool(tag) and self._bucket.swap(_LOCK, body, tag)

    def prove(self) -> None:
        """Of many creators of one key at once exactly one wins, in each of several rounds.

        Raises: Refused where two win, or none.
        """
        key = f"probe/{self._host.token(8)}"
        with ThreadPoolExecutor(CREATORS) as pool:
            for number in range(ROUNDS):
                name = f"{key}-{number}"
                try:
                    won = list(pool.map(lambda who, name=name: self._bucket.create(name, b"%d" % who),
                                        range(CREATORS)))  # fmt: skip
                finally:
                    self._bucket.remove(name)
                if sum(won) != 1:
                    raise Refused(
                        "writers: many",
                        f"{sum(won)} of {CREATORS} creators of one key won at once: a lock in this "
                        "object storage keeps nobody out", where=self._bucket.where,
                        hint="write writers: one, and give every writer a prefix of its own",
                    )  # fmt: skip
        self._locks = True


def _holder(body: bytes) -> str:
    with suppress(ValueError, TypeError, KeyError):
        return str(json.loads(body)["holder"])
    return ""


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
