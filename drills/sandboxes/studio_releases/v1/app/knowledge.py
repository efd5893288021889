"""The knowledge server: what the agents look up, from `knowledge/` and from the vendor's catalogue."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True  # a release is exactly the files in git
sys.path.insert(0, str(Path(__file__).resolve().parent))

import settings  # noqa: E402
from version import VERSION  # noqa: E402
from web import Answer, Refused, Request, Server  # noqa: E402

RESULTS_MAX = 3


def answer(request: Request) -> Answer:
    if request.path == "/health":
        return 200, {"status": "up", "version": VERSION}
    if request.path == "/query":
        found = search(request.query.get("q", ""))
        return 200, {"count": len(found), "results": found[:RESULTS_MAX]}
    raise Refused(404, "no such path")


def search(question: str) -> list[dict[str, Any]]:
    """What shares words with the question, best first. Read anew: the files may be replaced."""
    words = {word for word in question.lower().split() if len(word) > 2}
    scored = []
    for finding in findings():
        text = f"{finding['title']} {finding['text']}".lower()
        scored.append((sum(word in text for word in words), finding))
    return [finding for score, finding in sorted(scored, key=lambda pair: -pair[0]) if score]


def findings() -> list[dict[str, str]]:
    now = settings.load()
    own = json.loads(now.knowledge_file.read_bytes())["findings"]
    bought = json.loads(now.catalogue.read_bytes())["items"]
    return [*own, *({"title": item["name"], "text": item["summary"]} for item in bought)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Server(arguments.port, answer).serve_forever()


if __name__ == "__main__":
    main()
