"""What a system is made of: components, services, flags, its repository, its environments.

Hides: nothing; these are the sections of the declaration that name things on the machine.
Never: looks whether they are there.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from rollback.model.quantity import Bytes, Seconds
from rollback.model.registry import Check, Declared, Planned, read_item, spelt
from rollback.model.step import Effects, Id, Text

Name = Annotated[
    str,
    spelt(
        r"\A[A-Za-z_][A-Za-z0-9_]{0,63}\z",
        "write a name like DATABASE_URL: letters, digits and '_'",
    ),
]
Argv = Annotated[
    tuple[Annotated[str, StringConstraints(max_length=8192)], ...], Field(min_length=1)
]


def _plain(path: str) -> str:
    if not path or path.startswith(("/", "~")) or "\0" in path:
        raise ValueError(f"{path!r} is not a path below the root; write it relative, like app/data")
    parts = path.split("/")
    if path != "." and any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{path!r} has an empty, '.' or '..' part; write it plain, like app/data")
    if any(ord(c) < 32 or ord(c) == 127 for c in path):
        raise ValueError(f"{path!r} holds a control character")
    return path


def _port(written: Any) -> Any:
    if isinstance(written, str) and written.isascii() and written.isdigit():
        return int(written)
    return written


def _text_of_number(written: Any) -> Any:
    return str(written) if isinstance(written, int) and not isinstance(written, bool) else written


def _referenced(written: str | None) -> str | None:
    if written is not None and not written.startswith(("env:", "file:", "credential:")):
        raise ValueError("a password is a reference: env:NAME, file:PATH or credential:NAME")
    return written


RelativePath = Annotated[str, AfterValidator(_plain)]
AnyPath = Annotated[
    str, AfterValidator(lambda path: "/"[: path[:1] == "/"] + _plain(path.removeprefix("/")))
]
XattrGlob = Annotated[
    str,
    spelt(
        r"\A(user|system|trusted|security)\.[!-~]{1,250}\z",
        "write user.NAME, system.NAME, trusted.NAME or security.NAME; '*' stands for any",
    ),
]
Port = Annotated[
    int,
    BeforeValidator(_port),
    Field(ge=1, le=65535),
    WithJsonSchema({"type": ["integer", "string"]}),
]


class StateDeclared(Declared):
    """Where the tool keeps its own state; relative to the folder of the declaration."""

    dir: Text = ".rollback"
    fallback: Text | None = None
    anchor: Text | None = None


class Variable(Declared):
    """A value that `${NAME}` takes: process environment, then the file, then the default.

    A `secret` one is written down nowhere; so is one whose name says it, or that is used where its
    place says it, like a header Authorization.
    """

    default: str | None = None
    title: Text | None = None
    secret: bool = False


class EnvironmentFile(Declared):
    """The variables of the declaration. `file` is relative to the folder of the declaration."""

    file: Text | None = None
    variables: dict[Name, Variable] = Field(default_factory=dict)


_HOUR = "([01][0-9]|2[0-3]):[0-5][0-9]"


class Window(Declared):
    """When something may happen: days of the week and hours, in `zone`; hours may span midnight."""

    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = ()
    hours: Annotated[
        str | None,
        spelt(rf"\A{_HOUR}-{_HOUR}\z", "write hours like 09:00-17:00"),
    ] = None
    zone: Text = "UTC"


class Environment(Declared):
    """One place where the system runs. `allows` says which effects of suites are welcome there."""

    title: Text | None = None
    root: Text | None = None
    variables: dict[Name, str] = Field(default_factory=dict)
    window: Window | None = None
    confirm: bool = True
    allows: tuple[Effects, ...] = ()


class Repository(Declared):
    """The git repository of the system. `protected` are name patterns never pushed or moved."""

    path: RelativePath = "."
    remote: Text | None = None
    branch: Text | None = None
    protected: tuple[Text, ...] = ()
    baseline: Text | None = None


class TransactionFields(Declared):
    """Which field of a record holds what; those that are None are in no record."""

    kind: Text = "op"
    key: Text = "key"
    value: Text = "value"
    table: Text | None = None
    transaction: Text | None = None
    sequence: Text | None = None


class TransactionWords(Declared):
    """What the field `kind` says for each kind of record; other kinds change nothing."""

    set: tuple[Text, ...] = ("set",)
    delete: tuple[Text, ...] = ("delete",)
    begin: tuple[Text, ...] = ("begin",)
    commit: tuple[Text, ...] = ("commit",)
    abort: tuple[Text, ...] = ("abort",)


class TransactionLog(Declared):
    """The log that is written before each change of a component; a plain path is one of JSON lines.

    A record without a transaction stands for itself. One with a transaction counts when the record
    that commits it is there: until then, and without the field `transaction` never, it is open.
    `table` and `column` are for databases: the table where records name none, and its key.
    """

    path: RelativePath
    format: Literal["json-lines"] = "json-lines"
    fields: TransactionFields = Field(default_factory=TransactionFields)
    words: TransactionWords = Field(default_factory=TransactionWords)
    table: Text | None = None
    column: Text = "id"


def _log(written: Any) -> Any:
    return {"path": written} if isinstance(written, str) else written


def _content(written: Any) -> Any:
    if isinstance(written, dict):
        return read_item("content", written)
    return written


class Database(Declared):
    """A PostgreSQL database: which one, how it is reached, and what becomes of its clients at a swap.

    Each word may be a reference (`env:`, `file:`, `credential:`); what is left out is as PostgreSQL's
    programs take it: from their variables and files. `programs` is the folder of psql and pg_dump.
    `clients: refuse` waits `drain_within` for them to leave and else changes nothing; `terminate`
    ends them. `within` limits each program, in seconds.
    """

    name: Text
    host: Text | None = None
    port: Annotated[Text | None, BeforeValidator(_text_of_number)] = None
    user: Text | None = None
    password: Annotated[Text | None, AfterValidator(_referenced)] = None
    maintenance: Text = "postgres"
    programs: Text | None = None
    clients: Literal["refuse", "terminate"] = "refuse"
    drain_within: Seconds = 10.0
    within: Seconds = 600.0


class Component(Declared):
    """A named part of the system with a path and a kind of content.

    `content` is a kind's name, or a Planned one. `volatile` parts may change between mitigation
    and the gate. `xattrs` are the extended attributes that are part of it, like user.* or
    system.posix_acl_access. `order` sorts a full restore. `open_items` counts what would be lost.
    `repair` is a program that repairs it, tried first; `usable` are checks that show it can be used
    by itself.
    """

    title: Text | None = None
    path: RelativePath = "."
    paths: tuple[RelativePath, ...] = ()
    exclude: tuple[Text, ...] = ()
    xattrs: tuple[XattrGlob, ...] = ()
    content: Annotated[
        str | Planned,
        BeforeValidator(_content),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"x-family": "content"}]}),
    ] = "files"
    class_: Text | None = Field(default=None, alias="class")
    restore: Literal["in-place", "standby"] = "in-place"
    order: Annotated[int, Field(ge=0, le=10000)] = 100
    depends_on: tuple[Id, ...] = ()
    volatile: bool = False
    sensitive: bool = False
    phase: Id | None = None
    open_items: Check | None = None
    transaction_log: Annotated[
        TransactionLog | None,
        BeforeValidator(_log, json_schema_input_type=TransactionLog | Text | None),
    ] = None
    repair: Argv | None = None
    usable: tuple[Id, ...] = ()
    irreversible: tuple[Text, ...] = ()
    owner: Id | None = None
    references: tuple[RelativePath, ...] = ()
    initial: Text | None = None
    database: Database | None = None
    host: Id | None = None

    @model_validator(mode="after")
    def _reached(self) -> Component:
        if (self.content == "postgres") != (self.database is not None):
            raise ValueError(
                "content: postgres and database: {name: …} belong together; write both or neither"
            )
        return self

    @property
    def planned(self) -> Planned | None:
        """The content kind that is not built yet, if it is such a one."""
        return self.content if isinstance(self.content, Planned) else None


class Stop(Declared):
    """How a service is asked to end; after `grace` it is killed."""

    signal: Literal["TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "KILL"] = "TERM"
    grace: Seconds = 10.0


class Reload(Declared):
    """How a service is told to read its configuration again: one of the two."""

    signal: Literal["HUP", "USR1", "USR2"] | None = None
    argv: Argv | None = None

    @model_validator(mode="after")
    def _one(self) -> Reload:
        if (self.signal is None) == (self.argv is None):
            raise ValueError("reload takes one of: signal, argv")
        return self


Manager = Literal["registry", "systemd", "compose", "supervisor", "command"]


class StartMethod(Declared):
    """One way to start a service: a program, a unit, or a service of the compose project in `cwd`.

    They are tried in the declared order, each until the service is ready and for at most `within`
    (without it, for an equal share of the time that is left). `when` is for people.
    """

    id: Id
    argv: Argv | None = None
    unit: Text | None = None
    compose: Text | None = None
    when: Text | None = None
    within: Seconds | None = None

    @model_validator(mode="after")
    def _one(self) -> StartMethod:
        if [self.argv, self.unit, self.compose].count(None) != 2:
            raise ValueError("a way to start takes one of: argv, unit, compose")
        return self


class Service(Declared):
    """A running part of the system, identified by its lock, unit or command, never by name.

    `environment`, and what is set of `required_environment` where we run, is what its program gets.
    When the first of `ports` is taken by somebody else, the program is given the first free one of
    `fallback_ports` instead, wherever its words or its environment name it. `start` are the ways to
    start it, in place of `argv` or `unit`. Asked, `drain` lets no new work begin and is PASS when
    none is open; `resume` lets work go on.
    """

    title: Text | None = None
    manager: Manager = "registry"
    argv: Argv | None = None
    cwd: RelativePath = "."
    lock: RelativePath | None = None
    log: RelativePath | None = None
    unit: Text | None = None
    ports: tuple[Port, ...] = ()
    fallback_ports: tuple[Port, ...] = ()
    environment: dict[Name, str] = Field(default_factory=dict)
    required_environment: tuple[Name, ...] = ()
    start: tuple[StartMethod, ...] = ()
    ready: Check | None = None
    stop: Stop = Field(default_factory=Stop)
    reload: Reload | None = None
    drain: Check | None = None
    resume: Check | None = None
    depends_on: tuple[Id, ...] = ()
    components: tuple[Id, ...] = ()
    host: Id | None = None

    @model_validator(mode="after")
    def _startable(self) -> Service:
        if self.start and (self.argv or self.unit):
            raise ValueError(
                "start: holds every way to start it: write argv or unit as one of them"
            )
        for way in self.ways():
            way.why_not_startable()
        return self

    def ways(self) -> tuple[Service, ...]:
        """The service as each way starts it, in order; itself where there is one way only."""
        return tuple(self._by(method) for method in self.start) or (self,)

    def _by(self, method: StartMethod) -> Service:
        manager: Manager = self.manager
        if method.compose:
            manager = "compose"
        elif method.unit:
            manager = "supervisor" if manager == "supervisor" else "systemd"
        elif manager not in ("registry", "command"):
            manager = "registry"
        return self.model_copy(update={
            "manager": manager, "argv": method.argv, "unit": method.unit or method.compose,
            "start": ()})  # fmt: skip

    def why_not_startable(self) -> None:
        """Nothing is missing for its manager to start it. Raises: ValueError."""
        if self.manager in ("registry", "command") and not self.argv:
            raise ValueError(f"manager {self.manager} starts a program: write argv: [program, …]")
        if self.manager in ("systemd", "supervisor", "compose") and not self.unit:
            raise ValueError(f"manager {self.manager} needs the name it knows: write unit: name")
        if self.manager == "registry" and not self.lock:
            raise ValueError("manager registry finds its process by a lock: write lock: run/x.lock")


class FileKey(Declared):
    """One key of one file."""

    path: RelativePath
    key: Text


class Layered(Declared):
    """A flag whose value comes from the environment file, else the YAML key, else the default."""

    env_file: FileKey | None = None
    yaml: FileKey | None = None
    default: bool | int | str = False


class HttpReader(Declared):
    """The running process answers with JSON; `pointer` is where the value stands."""

    url: Text
    pointer: Text
    within: Seconds = 2.0


class CommandReader(Declared):
    """A program prints the value."""

    argv: Argv
    within: Seconds = 5.0


class Reader(Declared):
    """The product's own way to read a flag: one of the two."""

    http: HttpReader | None = None
    command: CommandReader | None = None

    @model_validator(mode="after")
    def _one(self) -> Reader:
        if (self.http is None) == (self.command is None):
            raise ValueError("a reader takes one of: http, command")
        return self


class Flag(Declared):
    """A switch of the running system: layered files, or a flagd flag file."""

    title: Text | None = None
    layered: Layered | None = None
    flagd: FileKey | None = None
    reader: Reader | None = None

    @model_validator(mode="after")
    def _one(self) -> Flag:
        if (self.layered is None) == (self.flagd is None):
            raise ValueError("a flag is one of: layered, flagd")
        return self


_CONNECTIONS = ("local", "ssh", "docker", "podman", "kubectl", "openshift", "lxc", "chroot",
                "ansible", "salt")  # fmt: skip


def _connection(written: str) -> str:
    scheme, colon, rest = written.partition("://")
    if not colon or scheme not in _CONNECTIONS:
        known = ", ".join(f"{one}://" for one in _CONNECTIONS)
        raise ValueError(f"{written!r} does not say how to connect; write one of {known}")
    if scheme != "local" and not rest.partition("?")[0]:
        raise ValueError(f"{written!r} names nobody; write it like {scheme}://web1")
    if ":" in rest.rpartition("@")[0]:
        raise ValueError(f"{scheme}:// with a password in it would be read by others: use a key")
    return written


class HostDeclared(Declared):
    """A machine that components live on; one host, this one, is the default.

    `connection` is how testinfra reaches it: `ssh://deploy@web1?ssh_identity_file=…`,
    `docker://shop`, `kubectl://pod?namespace=…`, `ansible://web?ansible_inventory=…`.
    """

    title: Text | None = None
    connection: Annotated[Text, AfterValidator(_connection)] = "local://"


class Place(Declared):
    """A folder outside the root, and what may be done there."""

    title: Text | None = None
    path: Text
    may: tuple[Literal["read", "write", "archive", "clear"], ...] = ("read",)
    limit: Bytes | None = None
