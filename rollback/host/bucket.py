"""Object storage that speaks S3: whole objects under one prefix of one bucket, each with a deadline.

Hides: obstore (the extra `s3`), which is imported when a bucket is opened and not before.
Never: says a credential, in a message or anywhere; gives back half an object.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from rollback.host.tap import Tap
from rollback.model.errors import HostError, HostUnreachable

T = TypeVar("T")
PART_BYTES = 8 * 2**20  # what is larger goes in parts of this size
RETRIES = 2
_STATUS = re.compile(r"status code: ([0-9]{3})")
_INSTALL = "install the extra s3 from a checkout: pip install 'CHECKOUT[s3]' (make setup does it)"


class Bucket:
    """The objects below `prefix`. Names are relative to it.

    Raises, all of it: FileNotFoundError where there is no such object, HostUnreachable where
    nobody answers in time or the server says that it cannot now, HostError where it refuses.
    """

    def __init__(
        self, bucket: str, prefix: str, *, endpoint: str | None, region: str, access_key: str,
        secret_key: str, within_s: float, tap: Tap,
    ) -> None:  # fmt: skip
        try:
            import obstore
            from obstore import exceptions
            from obstore.store import S3Store
        except ImportError:
            raise HostError("copies in object storage need the extra s3", hint=_INSTALL) from None
        self._obstore: Any = obstore
        self._errors: Any = exceptions
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._within_s = within_s
        self._tap = tap
        self.where = f"s3://{bucket}/{self._prefix}"
        wait = timedelta(seconds=within_s)
        options: dict[str, Any] = {
            "bucket": bucket, "region": region, "access_key_id": access_key,
            "secret_access_key": secret_key, "virtual_hosted_style_request": False,
        }  # fmt: skip
        if endpoint:
            options["endpoint"] = endpoint
        plain = bool(endpoint and endpoint.startswith("http://"))
        backoff: Any = {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=2),
        }
        client: Any = {"timeout": wait, "connect_timeout": wait, "allow_http": plain}
        retry: Any = {"max_retries": RETRIES, "retry_timeout": wait, "backoff": backoff}
        self._store = self._asked(
            "", lambda: S3Store(**options, client_options=client, retry_config=retry)
        )

    # -- reading ---------------------------------------------------------------------------

    def sizes(self, folder: str) -> dict[str, int]:
        """The name, without the folder, and the bytes of every object in a folder; "" is the top."""
        above = f"{self._prefix}{folder}/" if folder else self._prefix

        def ask() -> dict[str, int]:
            found = {}
            for page in self._obstore.list(self._store, above):
                for one in page:
                    name = str(one["path"]).removeprefix(above)
                    if "/" not in name:
                        found[name] = int(one["size"])
            return found

        return self._asked(folder, ask)

    def size(self, name: str) -> int:
        """Bytes."""
        return self._asked(
            name, lambda: int(self._obstore.head(self._store, self._prefix + name)["size"])
        )

    def read(self, name: str, offset: int, size_bytes: int) -> bytes:
        """At most that many bytes from there on; none from its end on."""
        left = self.size(name) - offset
        if left <= 0 or size_bytes <= 0:
            return b""
        length = min(left, size_bytes)
        data = self._asked(name, lambda: bytes(self._obstore.get_range(
            self._store, self._prefix + name, start=offset, length=length)))  # fmt: skip
        if len(data) != length:
            raise HostUnreachable("the answer was cut short", where=self.where + name)
        return data

    def whole(self, name: str) -> bytes:
        """A small object, in one request."""

        def ask() -> bytes:
            return bytes(self._obstore.get(self._store, self._prefix + name).bytes())

        return self._asked(name, ask)

    # -- changing --------------------------------------------------------------------------

    def put(self, name: str, data: bytes | Iterable[bytes]) -> None:
        """The object is exactly that: the whole of it appears at once, or nothing."""
        whole = data if isinstance(data, bytes) else b"".join(data)
        self._changed("s3-put", name, lambda: self._obstore.put(
            self._store, self._prefix + name, whole, chunk_size=PART_BYTES, max_concurrency=4))  # fmt: skip

    def create(self, name: str, data: bytes) -> bool:
        """True when this call made the object; False when one was there. A lock only if proved."""
        with suppress(self._errors.AlreadyExistsError, self._errors.PreconditionError):
            self._changed("s3-create", name, lambda: self._obstore.put(
                self._store, self._prefix + name, data, mode="create"))  # fmt: skip
            return True
        return False

    def remove(self, name: str) -> None:
        """The object is gone; one that was gone already is no error."""
        with suppress(FileNotFoundError):
            self._changed("s3-delete", name, lambda: self._obstore.delete(
                self._store, self._prefix + name))  # fmt: skip

    def copy(self, name: str, to: str) -> None:
        """`to` is what `name` is."""
        self._changed("s3-copy", name, lambda: self._obstore.copy(
            self._store, self._prefix + name, self._prefix + to))  # fmt: skip

    # -- inside ----------------------------------------------------------------------------

    def _changed(self, call: str, name: str, do: Callable[[], object]) -> None:
        self._tap.change(call, name, lambda: self._asked(name, do))

    def _asked(self, name: str, do: Callable[[], T]) -> T:
        errors = self._errors
        where = self.where + name
        try:
            return do()
        except (errors.AlreadyExistsError, errors.PreconditionError):
            raise
        except FileNotFoundError as error:  # the library's own is one too
            if "NoSuchBucket" in str(error):
                raise HostError("there is no such bucket", where=where) from None
            raise FileNotFoundError(2, "there is no such object", where) from None
        except (errors.BaseError, OSError, ValueError) as error:
            raise self._failed(str(error), where) from None

    def _failed(self, text: str, where: str) -> HostError:
        """What a failed request means, without a word of what the library printed of it."""
        answered = _STATUS.search(text)
        if "NoSuchBucket" in text:
            return HostError("there is no such bucket", where=where)
        if answered and answered[1] in ("401", "403"):
            return HostError(
                f"the object storage refuses these credentials: it answered {answered[1]}", where=where,
                hint="look at access_key and secret_key of this store, and what they may do",
            )  # fmt: skip
        if answered and answered[1] not in ("429", "500", "502", "503", "504"):
            return HostError(f"the object storage answered {answered[1]}", where=where)
        if answered:
            why = f"it answered {answered[1]} to each of {RETRIES + 1} requests"
        elif "kind: Timeout" in text:
            why = f"no answer within {self._within_s:g} s"
        elif "kind: Interrupted" in text or "IncompleteBody" in text:
            why = "its answers are cut short"
        else:
            why = "nobody is there, or it ends the connection"
        return HostUnreachable(f"the object storage is out of reach: {why}", where=where,
                               hint="when it is back: rollback checkpoint copy")  # fmt: skip


__all__ = ["PART_BYTES", "Bucket"]
