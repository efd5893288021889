"""The fixture `checkpoint`: what the run went back to, in a gate and by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path

import yaml

from tests.cli.program import rollback
from tests.prove.test_suites_by_hand import OURS, by_hand
from tests.test_api import DECLARATION

TEAM = """
import hashlib

def test_the_page_is_the_one_of_the_checkpoint(checkpoint, component):
    page = component("pages") / "a.json"
    kept = checkpoint("pages")["a.json"]
    assert (kept.kind, kept.size) == ("file", page.stat().st_size)
    assert hashlib.sha256(page.read_bytes()).hexdigest() == kept.sha256
"""


def test_a_team_compares_with_what_the_run_went_back_to(tmp_path: Path) -> None:
    """Not with the newest checkpoint, which holds the bad page; by hand with the last good one."""
    (tmp_path / "html").mkdir()
    page = tmp_path / "html/a.json"
    page.write_text('{"a": 1, "of": "the good day"}')
    declared = yaml.safe_load(DECLARATION)
    team = tmp_path / "verification/smoke/test_page.py"
    team.parent.mkdir(parents=True)
    team.write_text(TEAM)
    digest = hashlib.sha256(TEAM.encode()).hexdigest()
    declared["verification"]["suites"] = [
        {"path": "verification/smoke/test_page.py", "sha256": digest}
    ]
    (tmp_path / "rollback.yaml").write_text(yaml.safe_dump(declared, sort_keys=False))
    assert rollback(tmp_path, "checkpoint", "create", "good", "--seal").status in (0, 7)
    page.write_text('{"a": 1, "of": "another day"}')
    words = (str(team), str(OURS), "-m", "smoke", "--system", str(tmp_path / "rollback.yaml"))
    bad = by_hand(*words, cwd=tmp_path)
    assert bad.returncode == 1, bad.stdout
    assert "test_the_page_is_the_one_of_the_checkpoint" in bad.stdout
    done = rollback(
        tmp_path, "run", "fast", "--to", "checkpoint:good", "--as", "operator", "--yes", "--json"
    )
    assert (done.status, done.json["state"]) == (0, "COMPLETE"), done.out + done.err
    assert by_hand(*words, cwd=tmp_path).returncode == 0
