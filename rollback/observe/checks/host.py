"""What stands on declared hosts: services, listening ports, files, packages, room; one trip each.

Hides: the script that asks everything at once, and what each kind of machine calls things.
Never: takes what could not be asked for an answer; follows "listening" by "well": ask the port.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from rollback.model.component import Port
from rollback.model.errors import RollbackError
from rollback.model.finding import Finding, failed, passed, unknown
from rollback.model.quantity import Seconds, counted
from rollback.model.registry import register
from rollback.model.step import Check, Id, Text
from rollback.observe.deadline import together
from rollback.observe.expect import Limits, combined, figure, shown
from rollback.observe.remote import reached, run
from rollback.observe.view import View

SYSTEMD = "/run/systemd/system"  # there exactly while systemd is the first process (sd_booted(3))
_MARK = "@rollback"
_NAME = re.compile(r"[A-Za-z0-9@._:+~-]+\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


def _name(text: str) -> str:
    if not _NAME.match(text) or text.startswith("-"):
        raise ValueError(f"{text!r} is no name of a unit or package")
    return text


def _absolute(text: str) -> str:
    if not text.startswith("/") or "\0" in text or "\n" in text:
        raise ValueError(f"{text!r} is no absolute path")
    return text


def _digest(text: str) -> str:
    if not _SHA256.match(text):
        raise ValueError(f"{text!r} is no SHA-256 in hexadecimal")
    return text


Unit = Annotated[str, AfterValidator(_name)]
Path = Annotated[str, AfterValidator(_absolute)]


@register("check", "host")
class HostCheck(Check):
    """Each of `hosts` (all that are declared, where none is named) is as written.

    `services` are active, as its systemd or OpenRC says; `listens` are TCP ports that somebody
    there has open; `sha256` is what files hold; `packages` begin with a version ("" is any).
    """

    hosts: tuple[Id, ...] = ()
    services: tuple[Unit, ...] = ()
    listens: tuple[Port, ...] = ()
    exists: tuple[Path, ...] = ()
    absent: tuple[Path, ...] = ()
    sha256: dict[Path, Annotated[str, AfterValidator(_digest)]] = Field(default_factory=dict)
    packages: dict[Unit, str] = Field(default_factory=dict)
    free: dict[Path, Limits] = Field(default_factory=dict)
    says: dict[Text, Text] = Field(default_factory=dict)
    within: Seconds = 20.0

    @model_validator(mode="after")
    def _asks_something(self) -> HostCheck:
        if not self._demands():
            raise ValueError(
                "nothing is asked; write services, listens, exists, absent, sha256, packages, free "
                "or says"
            )
        return self

    def _demands(self) -> int:
        return sum(map(len, (self.services, self.listens, self.exists, self.absent, self.sha256,
                             self.packages, self.free, self.says)))  # fmt: skip

    def ask(self, view: View) -> Finding:
        """PASS when every host answered and is as written; all are asked at once."""
        names = self.hosts or tuple(view.system.hosts) or ("",)
        works = [lambda name=name: self._one(view, name) for name in names]
        outcomes = together(works, within_s=self.within, clock=view.host.clock)
        late = failed(f"no answer within {figure(self.within)} s")
        findings = []
        for name, outcome in zip(names, outcomes, strict=True):
            finding = outcome.result or late
            if isinstance(outcome.error, RollbackError):
                finding = failed(outcome.error.message)
            elif outcome.error is not None:
                finding = unknown(f"the check went wrong: {shown(str(outcome.error))}")
            where = name or "this machine"
            findings.append(Finding(finding.answer, f"{where}: {finding.evidence}"))
        return combined(findings)

    def _one(self, view: View, name: str) -> Finding:
        host = reached(view.system.hosts, name)
        told = _read(str(run(host, self._script(), name or "this machine").stdout))
        wrong, open_ = list(self._wrong(told)), list(self._open(told))
        if wrong:
            return failed("; ".join(wrong[:10]))
        if open_:
            return unknown("; ".join(open_[:10]))
        return passed(f"{counted(self._demands(), 'demand')} hold")

    # -- asking --

    def _script(self) -> str:
        lines = [
            "LC_ALL=C; export LC_ALL",
            "one() { printf %s \"$1\" | tr '\\n\\t' '  '; }",
            f'p() {{ printf \'{_MARK}\\t%s\\t%s\\t%s\\n\' "$1" "$2" "$(one "$3")"; }}',
        ]
        if self.services:
            lines.append(_services(self.services))
        if self.listens:
            lines.append(_LISTENS)
        lines += [_file(path) for path in (*self.exists, *self.absent)]
        for path in map(shlex.quote, self.sha256):
            lines.append(f'p sha256 {path} "$(sha256sum -- {path} 2>&1)"')
        if self.packages:
            lines.append(_packages(self.packages))
        for path in map(shlex.quote, self.free):
            lines.append(f'p free {path} "$(df -Pk -- {path} 2>/dev/null | tail -n 1)"')
        for number, command in enumerate(self.says):
            lines.append(f'p says {number} "$(sh -c {shlex.quote(command)} 2>&1)"')
        lines.append("p end - -")
        return "\n".join(lines)

    # -- judging --

    def _wrong(self, told: _Told) -> Iterator[str]:
        for name in self.services:
            state = told.get(("service", name), "active")
            if state != "active":
                yield f"service {name} is {shown(state) or 'not known there'}"
        if self.listens and ("ports", "-") in told:
            open_ports = {int(port, 16) for port in told["ports", "-"].split()}
            yield from (f"nobody listens on port {port}" for port in self.listens
                        if port not in open_ports)  # fmt: skip
        for path in self.exists:
            if _is_absent(told.get(("file", path), "")):
                yield f"{shown(path)} is missing"
        for path in self.absent:
            if told.get(("file", path)) == "there":
                yield f"{shown(path)} is there"
        for path, wanted in self.sha256.items():
            found = told.get(("sha256", path), "")
            if _is_absent(found):
                yield f"{shown(path)} is missing"
            elif _SHA256.match(found[:64]) and found[:64] != wanted:
                yield f"{shown(path)} holds something else ({found[:12]})"
        for name, wanted in self.packages.items():
            version = told.get(("package", name), wanted)
            if ("packages", "-") in told:
                continue
            if ("package", name) in told and not version:
                yield f"package {name} is not installed"
            elif not version.startswith(wanted):
                yield f"package {name} is {shown(version)}, not {shown(wanted)}"
        for path, limits in self.free.items():
            free = _free_bytes(told.get(("free", path), ""))
            if free is not None and (reason := limits.why_not(free)):
                yield f"room at {shown(path)}: {reason} bytes"
        for number, (command, wanted) in enumerate(self.says.items()):
            said = told.get(("says", str(number)), wanted)
            if wanted not in said:
                yield f"{shown(command)} says {shown(said, limit=80)!r}, not {shown(wanted)!r}"

    def _open(self, told: _Told) -> Iterator[str]:
        """What could not be asked."""
        if ("end", "-") not in told:
            yield "its answer ends too early"
        if self.services and told.get(("manager", "-")) == "none":
            yield "there is no service manager (neither systemd nor OpenRC) that knows what runs"
        if self.listens and ("ports", "-") not in told:
            yield "it does not tell which ports are open"
        for path in (*self.exists, *self.absent):
            said = told.get(("file", path), "it was not asked")
            if said != "there" and not _is_absent(said):
                yield f"{shown(path)}: {shown(said)}"
        for path in self.sha256:
            said = told.get(("sha256", path), "it was not asked")
            if not _SHA256.match(said[:64]) and not _is_absent(said):
                yield f"{shown(path)}: {shown(said)}"
        if self.packages and told.get(("packages", "-")) == "none":
            yield "there is no package manager that this tool knows (dpkg, rpm, apk)"
        for path in self.free:
            if _free_bytes(told.get(("free", path), "")) is None:
                yield f"the room at {shown(path)} cannot be told"


def _services(units: tuple[str, ...]) -> str:
    names = " ".join(map(shlex.quote, units))
    return f"""\
if [ -d {SYSTEMD} ]; then
  for s in {names}; do p service "$s" "$(systemctl is-active -- "$s" 2>&1)"; done
elif command -v rc-service >/dev/null 2>&1; then
  for s in {names}; do
    if rc-service "$s" status >/dev/null 2>&1; then p service "$s" active
    else p service "$s" "not started"; fi
  done
else p manager - none; fi"""


# The kernel's own tables: `ss` is not everywhere. 0A is the state LISTEN.
_LISTENS = """\
if [ -r /proc/net/tcp ]; then
  p ports - "$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
    while read -r n here there state rest; do [ "$state" = 0A ] && echo "${here##*:}"; done)"
fi"""


def _file(path: str) -> str:
    quoted = shlex.quote(path)
    return (f"if said=$(ls -d -- {quoted} 2>&1 >/dev/null); then p file {quoted} there; "
            f'else p file {quoted} "$said"; fi')  # fmt: skip


def _packages(names: Mapping[str, str]) -> str:
    lines = ["if command -v dpkg-query >/dev/null 2>&1; then v() { dpkg-query -W "
             "-f='${db:Status-Status} ${Version}' -- \"$1\" 2>/dev/null | "
             "sed -n 's/^installed //p'; }",
             "elif command -v rpm >/dev/null 2>&1; then v() { rpm -q --qf "
             "'%{VERSION}-%{RELEASE}' -- \"$1\" 2>/dev/null | grep -v 'not installed'; }",
             "elif command -v apk >/dev/null 2>&1; then v() { apk info -e -v -- \"$1\" "
             "2>/dev/null | sed \"s/^$1-//\"; }",
             "else v() { :; }; p packages - none; fi"]  # fmt: skip
    lines += [f'p package {quoted} "$(v {quoted})"' for quoted in map(shlex.quote, names)]
    return "\n".join(lines)


_Told = Mapping[tuple[str, str], str]


def _read(printed: str) -> dict[tuple[str, str], str]:
    """What the script said, by what and about whom; what a login prints besides is passed over."""
    told = {}
    for line in printed.splitlines():
        parts = line.split("\t", 3)
        if len(parts) == 4 and parts[0] == _MARK:
            told[parts[1], parts[2]] = parts[3].strip()
    return told


def _is_absent(said: str) -> bool:
    return said.endswith(("No such file or directory", "Not a directory"))


def _free_bytes(line: str) -> int | None:
    """Of the last line of `df -Pk`: what is left to an ordinary user."""
    fields = line.split()
    return int(fields[3]) * 1024 if len(fields) >= 6 and fields[3].isdecimal() else None
