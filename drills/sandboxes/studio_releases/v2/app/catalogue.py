"""The vendor's catalogue: format 1 is a list of items, format 2 has entries by name."""

from __future__ import annotations

import json
from pathlib import Path


def read(path: Path) -> list[dict[str, str]]:
    catalogue = json.loads(path.read_bytes())
    if catalogue["format"] == 1:
        return [{"title": item["name"], "text": item["summary"]} for item in catalogue["items"]]
    return [
        {"title": name, "text": entry["summary"]} for name, entry in catalogue["entries"].items()
    ]
