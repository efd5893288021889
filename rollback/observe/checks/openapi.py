"""Whether a service keeps what its OpenAPI document promises of every GET and HEAD, by Schemathesis.

Values that the document allows are sent; status, content type, headers and body have to be what it
declares. Schemathesis is the extra `openapi`; it works in a program of its own (observe.promised).

Hides: Schemathesis; where the document comes from.
Never: sends another method; calls where nobody said it may; is green for what was not asked.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from rollback.host import outbound, reference
from rollback.host.processes import Completed, base_environment, run
from rollback.keep.redact import Redactor
from rollback.model.errors import HostError, HostUnreachable, RollbackError
from rollback.model.finding import Finding, Json, failed, passed, unknown
from rollback.model.quantity import Seconds, spoken
from rollback.model.registry import register
from rollback.model.step import Check, Text
from rollback.observe.expect import shown
from rollback.observe.place import opened
from rollback.observe.pointer import parse
from rollback.observe.reading import tail
from rollback.observe.structure import format_of, read
from rollback.observe.view import View
from rollback.observe.web import Url, fetch

START_UP_S = 10.0  # measured 1 to 2 s until the first request, on a busy two-core machine
_TOLD_MAX = 3
_KEPT_MAX = 50
_DEPTH_MAX = 200
INSTALL = "pip install 'CHECKOUT[openapi]'"


@register("check", "openapi")
class OpenApi(Check):
    """`schema` is a file, or with a slash first a path that is asked at `url`.

    `url` is where the operations are: a port of a declared service on this machine, or a `host:port`
    in `allow`. Each operation gets `examples` requests, made from `seed`, each within `each`; all of
    it within `within`. A value in `headers` may be a reference (env:, file:, credential:).
    """

    schema_: Text = Field(alias="schema")
    url: Url
    allow: tuple[Text, ...] = ()
    headers: dict[str, Text] = Field(default_factory=dict)
    examples: Annotated[int, Field(ge=1, le=200)] = 20
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    each: Seconds = 2.0
    within: Seconds = 60.0

    @model_validator(mode="after")
    def _allowed(self) -> OpenApi:
        if not outbound.here(urlsplit(self.url).hostname or "") and self._at not in self.allow:
            raise ValueError(f'{self._at} is another machine; write allow: ["{self._at}"]')
        if not self.schema_.startswith("/") and format_of(self.schema_) not in ("json", "yaml"):
            raise ValueError(f"{self.schema_!r}: write a file that ends in .json, .yaml or .yml, or "
                             "a path of the service like /openapi.json")  # fmt: skip
        return self

    @property
    def deadline_s(self) -> float:
        """Its own time, and what a start takes."""
        return self.within + START_UP_S

    @property
    def lacking(self) -> str:
        """What has to be installed before it can be asked; "" when nothing has to."""
        return "" if importlib.util.find_spec("schemathesis") is not None else INSTALL

    @property
    def reads(self) -> str:
        """The file, below the root, that it cannot do without; "" where the service has it."""
        return "" if self.schema_.startswith("/") else self.schema_

    @property
    def _at(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"

    def ask(self, view: View) -> Finding:
        """PASS when every operation was asked and every answer was what the document declares."""
        if self.lacking:
            return unknown(f"the extra openapi is not installed: {self.lacking}")
        if not self._declared(view):
            return unknown(f"{self._at} is no port of a declared service; declare the service, or "
                           f'write allow: ["{self._at}"]')  # fmt: skip
        folder = str(view.system.declaration.parent)
        headers = {name: reference.value(one, folder=folder) for name, one in self.headers.items()}
        hidden = Redactor(headers.values())
        try:
            document = self._document(view, headers)
        except (HostError, OSError, ValueError) as error:
            why = error.message if isinstance(error, RollbackError) else str(error)
            return failed(f"{self.schema_} cannot be read: {hidden.text(shown(why))}")
        for other in _elsewhere(document):
            return failed(
                f"{self.schema_} refers to {shown(other)}, another document: not followed"
            )
        return self._told(self._promised(view, document, headers), hidden)

    def _declared(self, view: View) -> bool:
        """True where somebody said that this may be called."""
        port = int(self._at.rpartition(":")[2])
        services = view.system.services.values()
        return self._at in self.allow or any(
            port in (*one.ports, *one.fallback_ports) for one in services
        )

    def _document(self, view: View, headers: Mapping[str, str]) -> Json:
        """What the file, or the service, says. Raises: HostError, OSError, ValueError."""
        if not self.schema_.startswith("/"):
            with opened(view, self.schema_) as (tree, name):
                data = tree.read(name)
            kind = format_of(self.schema_)
        else:
            parts = urlsplit(self.url)
            answer = fetch(f"{parts.scheme}://{parts.netloc}{self.schema_}", timeout_s=self.each,
                           headers=headers)  # fmt: skip
            if answer.status != 200:
                raise HostUnreachable(f"answered {answer.status}")
            data = answer.body
            kind = "json" if data.lstrip()[:1] == b"{" else "yaml"
        document = read(data, "yaml" if kind == "yaml" else "json")
        if not isinstance(document, dict) or not ({"openapi", "swagger"} & set(document)):
            raise ValueError("this is no OpenAPI document")
        return document

    def _promised(self, view: View, document: Json, headers: Mapping[str, str]) -> Completed:
        """The program of its own has asked, or was ended."""
        plan = {"document": document, "url": self.url, "headers": dict(headers), "place": self._at,
                "examples": self.examples, "seed": self.seed, "each_s": self.each,
                "within_s": self.within}  # fmt: skip
        argv = [sys.executable, "-I", "-B", "-m", "rollback.observe.promised"]
        with view.host.scratch() as folder:
            environment = base_environment({"HOME": folder, "HYPOTHESIS_STORAGE_DIRECTORY": folder})
            return run(argv, cwd=folder, timeout_s=self.within + START_UP_S, environment=environment,
                       stdin=json.dumps(plan).encode(), tap=view.host.tap)  # fmt: skip

    def _told(self, done: Completed, hidden: Redactor) -> Finding:
        """What the lines of the program come to."""
        broken: list[Json] = []
        end: dict[str, Any] = {}
        for line in done.stdout.splitlines():
            try:
                found: Any = parse(line.decode("utf-8", "replace"))
            except ValueError:
                continue
            if isinstance(found, dict) and "what" in found:
                broken.append({name: hidden.text(shown(str(one), limit=600))
                               for name, one in found.items()})  # fmt: skip
            elif isinstance(found, dict) and "operations" in found:
                end = found
        details: dict[str, Json] = {"seed": self.seed, "broken": broken[:_KEPT_MAX], **end}
        count = f"{end.get('asked', 0)} of {end.get('operations', '?')}"
        asked = f"{count} GET and HEAD operations of {self.schema_}"
        if broken:
            said = [f"{one['operation']}: {one['what']}; {one['again']}"
                    for one in broken[:_TOLD_MAX] if isinstance(one, dict)]  # fmt: skip
            more = f"; and {len(broken) - _TOLD_MAX} more" if len(broken) > _TOLD_MAX else ""
            return failed(f"{' | '.join(said)}{more} (seed {self.seed})", **details)
        if done.timed_out or not end:
            why = (
                f"no end within {spoken(self.within)}"
                if done.timed_out
                else hidden.text(tail(done))
            )
            return unknown(f"{self.schema_} was not asked to the end: {why}", **details)
        if not end["operations"]:
            return failed(f"{self.schema_} declares no GET operation: nothing was asked", **details)
        if end["asked"] < end["operations"]:
            return unknown(f"only {asked} were asked within {spoken(self.within)}", **details)
        if not end["served"]:
            return unknown(f"{asked} keep it, and each of {end['requests']} requests was refused: a refusal "
                           "proves nothing of what is served", **details)  # fmt: skip
        return passed(
            f"{asked} keep it, in {end['requests']} requests (seed {self.seed})", **details
        )


def _elsewhere(document: Json, depth: int = 0) -> Iterator[str]:
    """What the document refers to outside of itself."""
    if depth > _DEPTH_MAX:
        yield "more than can be read"
        return
    items = document.items() if isinstance(document, dict) else ()
    for name, one in items:
        if name in ("$ref", "externalValue") and isinstance(one, str) and not one.startswith("#"):
            yield one
        yield from _elsewhere(one, depth + 1)
    for one in document if isinstance(document, list) else ():
        yield from _elsewhere(one, depth + 1)
