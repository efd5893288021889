"""The program that the check `openapi` starts: it asks every GET and HEAD of a document, by Schemathesis.

A plan comes as JSON on standard input; a line of JSON goes out for each broken promise, and one at the end.
Schemathesis makes the values and judges the answers. The requests are ours: one method of two, one
place, no redirect, a deadline and a cap for each. A fence holds all the rest to that place.

Hides: hypothesis, requests.
Never: is imported by anything; sends a body.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from rollback.host import Clock, net, outbound
from rollback.model.errors import HostUnreachable

METHODS = ("GET", "HEAD")
CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance",
          "response_headers_conformance", "response_schema_conformance")  # fmt: skip
_NOT_SENT = (
    "accept-encoding",
    "connection",
    "x-schemathesis-testcaseid",
    "content-length",
    "content-type",
)
_SILENT_MAX = 3  # operations in a row that nobody answered
_WORDS_MAX = 300
_MASK = "…"
_MORE = "\n\n"  # what Schemathesis puts before the schema and the whole value


class _Over(Exception):
    """There is no time left, or nobody is there."""


@dataclass
class _Asking:
    """What was asked so far, and what came of it."""

    plan: Mapping[str, Any]
    out: IO[str]
    clock: Clock = field(default_factory=Clock)
    end_s: float = 0.0
    requests: int = 0
    served: int = 0
    silent: int = 0
    broken: set[tuple[str, str]] = field(default_factory=set)

    def tell(self, operation: str, what: str, again: str) -> None:
        """One line, once for each operation and kind of break."""
        if (operation, what) not in self.broken:
            self.broken.add((operation, what))
            line = {"operation": operation, "what": what[:_WORDS_MAX], "again": again}
            print(json.dumps(line), file=self.out, flush=True)

    def one(self, case: Any, checks: list[Any]) -> None:
        """One request is sent and its answer judged. Raises: _Over."""
        from schemathesis.core.failures import FailureGroup
        from schemathesis.core.transport import Response

        left_s = self.end_s - self.clock.boot_s()
        if left_s <= 0:
            raise _Over
        request = _prepared(case, self.plan)
        sent = {
            name: value for name, value in request.headers.items() if name.lower() not in _NOT_SENT
        }
        if not all(_carried(value) for value in sent.values()):
            return
        operation, again = case.operation.label, _again(request, sent, self.plan["headers"])
        try:
            answer = net.request(request.url, method=request.method, headers=sent,
                                 timeout_s=min(left_s, self.plan["each_s"]))  # fmt: skip
        except HostUnreachable as error:
            if self.clock.boot_s() >= self.end_s:
                raise _Over from None  # our time was over, not its own
            self.requests += 1
            self.tell(operation, error.message, again)
            raise
        self.requests += 1
        self.served += 200 <= answer.status < 400
        response = Response(
            answer.status, {name: [value] for name, value in answer.headers.items()}, answer.body,
            request, answer.elapsed_s, True,
        )  # fmt: skip
        try:
            case.validate_response(response, checks=checks)
        except FailureGroup as group:
            said = sorted(_short(one) for one in group.exceptions)
            self.tell(operation, f"{'; '.join(said)} (answered {answer.status})", again)


def main() -> None:
    """The plan is carried out, within its time."""
    plan = json.load(sys.stdin)
    out, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    asking = _Asking(plan, out)
    asked = count = 0
    try:
        with outbound.only((plan["place"],)):
            operations = _operations(asking)
            count = len(operations)
            asking.end_s = (
                asking.clock.boot_s() + plan["within_s"]
            )  # what was loaded until now is free
            for operation in operations:
                asked += _asked(asking, operation)
    except _Over:
        pass
    end = {
        "operations": count,
        "asked": asked,
        "requests": asking.requests,
        "served": asking.served,
    }
    print(json.dumps(end), file=out)


def _operations(asking: _Asking) -> list[Any]:
    """The operations of the document that may be asked; what cannot be read is told."""
    import schemathesis
    from schemathesis.config import SchemathesisConfig
    from schemathesis.core.result import Err

    config = SchemathesisConfig.from_dict({})
    try:
        schema = schemathesis.openapi.from_dict(asking.plan["document"], config=config)
        found = list(schema.include(method=list(METHODS)).get_all_operations())
    except Exception as error:  # noqa: BLE001 - a document may break it in any way
        asking.tell("the document", f"cannot be read: {_line(error)}", "look at it")
        return []
    operations = []
    for one in found:
        if isinstance(one, Err):
            asking.tell("the document", f"cannot be read: {_line(one.err())}", "look at it")
            continue
        operation = one.ok()
        if operation.method.upper() in METHODS:
            operations.append(operation)
    return operations


def _asked(asking: _Asking, operation: Any) -> bool:
    """The operation got its examples, or broke its promise. Raises: _Over."""
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from schemathesis.checks import CHECKS as KNOWN
    from schemathesis.checks import load_all_checks

    load_all_checks()
    checks = [KNOWN.get_one(name) for name in CHECKS]
    before, broken, over = asking.requests, len(asking.broken), list[Exception]()

    @seed(asking.plan["seed"])
    @settings(max_examples=asking.plan["examples"], database=None, deadline=None,
              phases=[Phase.generate], suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        if over or len(asking.broken) > broken:
            return  # a promise that is broken once is broken
        try:
            asking.one(case, checks)
        except (_Over, HostUnreachable) as error:
            over.append(error)

    try:
        ask()
    except Exception as error:  # noqa: BLE001 - of a document that allows no value at all
        asking.tell(operation.label, f"cannot be asked: {_line(error)}", "look at its parameters")
    silent = any(isinstance(one, HostUnreachable) for one in over)
    asking.silent = asking.silent + 1 if silent else 0
    if asking.silent >= _SILENT_MAX or (over and not silent):
        raise _Over
    return asking.requests > before


def _prepared(case: Any, plan: Mapping[str, Any]) -> Any:
    """The request, with no body; of one of two methods, at the one place. Raises: AssertionError."""
    import requests

    given = case.as_transport_kwargs(base_url=plan["url"], headers=dict(plan["headers"]))
    kept = {name: given.get(name) for name in ("method", "url", "params", "headers", "cookies")}
    request = requests.Request(**kept).prepare()
    assert request.method in METHODS, request.method
    assert str(request.url).startswith(plan["url"].rstrip("/")), request.url
    return request


def _again(request: Any, sent: Mapping[str, str], given: Mapping[str, str]) -> str:
    """How a person sends it again; what was declared as a header may be a secret and is left out."""
    own = {name.lower() for name in given}
    words = ["curl", *(["-I"] if request.method == "HEAD" else [])]
    for name, value in sent.items():
        if name.lower() in own:
            words += ["-H", shlex.quote(f"{name}: {_MASK}")]
        elif name.lower() not in ("user-agent", "accept"):
            words += ["-H", shlex.quote(f"{name}: {value}")]
    return " ".join([*words, shlex.quote(str(request.url))])


def _carried(value: object) -> bool:
    """True for the value of a header that HTTP can carry."""
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return all(" " <= mark <= "\xff" and mark != "\x7f" for mark in text)


def _short(failure: Any) -> str:
    """What is wrong; without the schema, which is in the document."""
    return " ".join(f"{failure.title}: {str(failure.message).partition(_MORE)[0]}".split())


def _line(error: object) -> str:
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}"[:_WORDS_MAX]


if __name__ == "__main__":
    main()
