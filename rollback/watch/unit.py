"""The agent as a service of systemd: the unit of one system, with the paths of this machine.

Hides: how systemd reads a path.
Never: installs anything; whoever does looks at it first.
"""

from __future__ import annotations

from pathlib import Path

_UNIT = """# rollback monitor for {title}.
# As a user:  {program} --system {system} monitor --unit > ~/.config/systemd/user/rollback-{id}.service
#             systemctl --user daemon-reload && systemctl --user enable --now rollback-{id}
[Unit]
Description=rollback monitor for {title}
Documentation=man:systemd.service(5)
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={program} --system {system} monitor{listen}
# A run that is under way goes on to where it can rest; killed, it goes on at the next start.
KillMode=mixed
TimeoutStopSec=15min
Restart=always
RestartSec=10s
# Status 2: the declaration is wrong. 5: another agent watches. Neither gets better by itself.
RestartPreventExitStatus=2 5
NoNewPrivileges=true
UMask=0077

[Install]
WantedBy=default.target
"""


def unit(*, program: Path, system: Path, name: str, title: str, port: int | None = None) -> str:
    """The text of a unit file that starts this program for this declaration."""
    return _UNIT.format(
        program=_escaped(program), system=_escaped(system), id=name,
        title=_plain(title), listen="" if port is None else f" --listen {port}",
    )  # fmt: skip


def _escaped(path: Path) -> str:
    """As systemd reads it again; quotes would not do everywhere."""
    text = str(path).replace("\\", "\\\\").replace("%", "%%").replace("$", "$$")
    return "".join(c if c.isprintable() and c not in " \"'" else _hex(c) for c in text)


def _hex(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text).replace("%", "%%").strip("\\")
