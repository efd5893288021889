"""Our own kinds of flags, each on an example of its use.

Hides: the files that they are written in.
Never: holds a contract.
"""

from __future__ import annotations

from rollback.conformance.example import Example
from rollback.conformance.world import World


def _layers(world: World) -> None:
    (world.root / ".env").write_text("# who may join\nOTHER=1\nPARTY=true # so far\nLAST=x\n")
    (world.root / "config.yaml").write_text("party:\n  enabled: true   # so far\nlast: 1\n")


def _definitions(world: World) -> None:
    (world.root / "flags.json").write_text(
        '{"flags": {"other": {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": "a"},\n'
        '  "party": {"state": "ENABLED", "variants": {"on": true, "off": false},'
        ' "defaultVariant": "on"}}}\n'
    )


EXAMPLES: dict[str, tuple[Example, ...]] = {
    "layered": (Example(sections={"flags": {"it": {"layered": {
        "env_file": {"path": ".env", "key": "PARTY"},
        "yaml": {"path": "config.yaml", "key": "party.enabled"}, "default": True}}}}, prepare=_layers),),
    "flagd": (Example(sections={"flags": {"it": {"flagd": {"path": "flags.json", "key": "party"}}}},
                      prepare=_definitions),),
}  # fmt: skip
