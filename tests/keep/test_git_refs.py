"""Finding targets, branches, tags, commits of named paths, and pushes to a real server."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rollback.host import Host
from rollback.keep.git_objects import Commit
from rollback.keep.writer import Intent, changes, put_back
from rollback.model.errors import HostUnreachable, PlanError, Refused, UsageError
from tests.keep.git_lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path / "repo")
    lab.commit("base", {"a": "1\n", "conf.yaml": "ok: 1\n"})
    lab.git("tag", "v1.0.0")
    lab.commit("Phase 6: party", {"a": "2\n"})
    lab.git("tag", "-a", "v1.10.0", "-m", "annotated")
    lab.commit("config", {"conf.yaml": "broken: [\n"})
    lab.git("tag", "v1.9.0", "v1.10.0^{}")
    return lab


@pytest.mark.requirement("PM-43", "AW-76")
def test_a_target_is_found_by_tag_pattern_branch_id_and_subject(lab: Lab) -> None:
    lab.git("branch", "elsewhere", "v1.0.0")
    with lab.open() as repo:
        tags = repo.resolve("v1.*")
        assert [c.ref.rpartition("/")[2] for c in tags] == ["v1.10.0", "v1.9.0", "v1.0.0"]
        assert [c.annotated for c in tags] == [True, False, False]
        assert tags[0].commit == tags[1].commit == lab.id("v1.10.0^{commit}")
        assert all(c.reachable and c.valid for c in tags)
        assert repo.resolve("elsewhere")[0].commit == lab.id("v1.0.0")
        assert repo.resolve(lab.id("v1.0.0")[:7])[0].subject == "base"
        assert repo.resolve(lab.id("v1.10.0"))[0].annotated
        assert [c.subject for c in repo.resolve("Phase 6", matching=True)] == ["Phase 6: party"]
        assert repo.resolve("no-such") == ()


@pytest.mark.requirement("PM-43")
def test_an_ambiguous_name_is_all_of_them_and_never_a_guess(lab: Lab) -> None:
    lab.git("branch", "v1.0.0", "HEAD")
    with lab.open() as repo:
        assert {c.ref for c in repo.resolve("v1.0.0")} == {"refs/heads/v1.0.0", "refs/tags/v1.0.0"}
        with pytest.raises(Refused, match="2 commits"):
            repo.plan_reset("v1.0.0")
        with pytest.raises(PlanError):
            repo.plan_reset("nothing")
        with pytest.raises(UsageError):
            repo.resolve("(", matching=True)


def test_a_tag_on_something_else_than_a_commit_is_listed_as_no_target(lab: Lab) -> None:
    lab.git("tag", "v1.blob", lab.id("HEAD:a"))
    lab.git("checkout", "-q", "--orphan", "apart")
    lab.commit("apart")
    lab.git("tag", "v1.apart")
    lab.git("checkout", "-q", "work")
    with lab.open() as repo:
        found = {c.ref.rpartition("/")[2]: c for c in repo.resolve("v1.*")}
    assert not found["v1.blob"].valid
    assert "no commit" in found["v1.blob"].why_not
    assert found["v1.apart"].valid
    assert not found["v1.apart"].reachable


@pytest.mark.requirement("PM-34")
def test_the_log_of_a_path_says_which_commits_are_no_target(lab: Lab) -> None:
    with lab.open() as repo:

        def readable(commit: Commit) -> str:
            return "not readable" if b"[" in repo.read(commit.id, "conf.yaml") else ""

        found = repo.log("conf.yaml", 10, validate=readable)
        assert [(e.commit.subject, e.valid, e.why_not) for e in found] == [
            ("config", False, "not readable"), ("base", True, "")]  # fmt: skip
        assert len(repo.log("conf.yaml", 1)) == 1
        assert [e.commit.subject for e in repo.log("a")] == ["Phase 6: party", "base"]


@pytest.mark.requirement("PM-44", "C-12")
def test_a_branch_comes_first_and_the_old_one_does_not_move(lab: Lab) -> None:
    work = lab.id("work")
    with lab.open() as repo:
        assert repo.branch("rollback-20260131", switch=True)
        assert not repo.branch("rollback-20260131", switch=True)
        assert repo.head() == ("rollback-20260131", work)
        repo.apply(repo.plan_reset("v1.0.0"), run="r", step="s")
        assert repo.head() == ("rollback-20260131", lab.id("v1.0.0"))
        with pytest.raises(Refused, match="exists"):
            repo.branch("work", "v1.0.0")
    assert lab.id("work") == work
    assert lab.git("status", "--porcelain") == ""


def test_a_protected_branch_is_neither_made_nor_moved_nor_committed_to(lab: Lab) -> None:
    before = lab.everything()
    with lab.open(protected=("work", "release/*")) as repo:
        plan = repo.plan_reset("v1.0.0")
        with pytest.raises(Refused, match="protected-refs"):
            repo.apply(plan, run="r", step="s")
        with pytest.raises(Refused, match="protected-refs"):
            repo.branch("release/9")
        with pytest.raises(Refused, match="protected-refs"):
            repo.commit(["a"], "x", run="r", step="c")
        assert lab.everything() == before
        repo.branch("rollback-x", switch=True)
        repo.apply(plan, run="r", step="s")
    assert lab.id("HEAD") == lab.id("v1.0.0")
    assert lab.id("work") == plan.old


@pytest.mark.requirement("PM-56")
def test_a_tag_is_made_once_and_never_moved(lab: Lab) -> None:
    with lab.open() as repo:
        assert repo.tag("rollback-snapshot-1")
        assert not repo.tag("rollback-snapshot-1")
        assert repo.tag("noted", "v1.0.0", "why it was made")
        assert not repo.tag("noted", "v1.0.0", "why it was made")
        with pytest.raises(Refused, match="another commit"):
            repo.tag("noted", lab.id("HEAD"))
    assert lab.git("cat-file", "-t", "noted") == "tag"
    assert lab.id("noted^{}") == lab.id("v1.0.0")
    assert lab.git("fsck", "--strict") == ""


@pytest.mark.requirement("PM-47", "PM-59", "C-12")
def test_a_commit_holds_only_the_named_paths(lab: Lab) -> None:
    lab.commit(
        "party", {"lib/party/x": "x", "lib/y": "y", "docs/PARTY_A.md": "a", "docs/b.md": "b"}
    )
    for path in ("lib/party/x", "docs/PARTY_A.md", "docs/b.md"):
        (lab.path / path).unlink()
    lab.write("a", "dirty\n")
    lab.write("archive.tar", "not to be committed")
    lab.write("lib/party/new", "untracked in a named folder")
    lab.write("note.md", "new, by its name")
    lab.git("add", "a")
    with lab.open() as repo:
        named = ["lib/party", "docs/PARTY*.md", "note.md", "never-was"]
        fact = repo.commit(named, "rollback: Remove party files", run="r", step="c")
        assert fact["paths"] == ["docs/PARTY_A.md", "lib/party/x", "note.md"]
        assert repo.commit(named, "rollback: Remove party files", run="r", step="c")[
            "changed"] is False  # fmt: skip
    assert lab.git("log", "-1", "--format=%s") == "rollback: Remove party files"
    assert lab.git("diff", "--name-status", "HEAD~1", "HEAD").split() == [
        "D", "docs/PARTY_A.md", "D", "lib/party/x", "A", "note.md"]  # fmt: skip
    assert lab.git("diff", "--cached", "--name-only") == "a"
    assert lab.git("fsck", "--strict") == ""


# -- pushing -------------------------------------------------------------------------------


class GitServer(BaseHTTPRequestHandler):
    """`git http-backend` behind a small server: what a real one does, hooks included."""

    root = ""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            self._serve(b"".join(parts))
        else:
            self._serve(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _serve(self, body: bytes) -> None:
        url = urlsplit(self.path)
        environment = {
            "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": self.root, "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": url.path, "QUERY_STRING": url.query, "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
            "REMOTE_USER": "ann", "REMOTE_ADDR": "127.0.0.1", "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
        }  # fmt: skip
        done = subprocess.run(["git", "http-backend"], env=environment, input=body,
                              capture_output=True, check=True)  # fmt: skip
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return None


@pytest.fixture
def bare(lab: Lab, tmp_path: Path) -> Path:
    path = tmp_path / "srv" / "bare.git"
    lab.git("clone", "-q", "--bare", str(lab.path), str(path))
    lab.git("--git-dir", str(path), "config", "http.receivepack", "true")
    return path


@pytest.fixture
def server(lab: Lab, bare: Path) -> Iterator[str]:
    handler = type("Handler", (GitServer,), {"root": str(bare.parent)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{listening.server_port}/bare.git"
        lab.git("remote", "add", "origin", url)
        yield url
        listening.shutdown()
        thread.join()


def hook(bare: Path, name: str, script: str) -> None:
    path = bare / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)


@pytest.mark.requirement("PM-56", "PM-58")
def test_branch_and_tag_arrive_at_a_server_and_are_read_back(
    lab: Lab, bare: Path, server: str
) -> None:
    work = lab.git("--git-dir", str(bare), "rev-parse", "work")
    with lab.open(remote="origin", protected=("work",)) as repo:
        repo.branch("rollback-1", switch=True)
        repo.apply(repo.plan_revert(matching="^Phase"), run="r", step="s")
        repo.tag("snap", message="note")
        for name in ("rollback-1", "snap"):
            fact = repo.push(name)
            assert (fact["changed"], fact["server_hooks"]) == (True, True)
            assert repo.push(name)["changed"] is False
    there = lab.git("--git-dir", str(bare), "for-each-ref", "--format=%(objectname) %(refname)")
    assert f"{lab.id('rollback-1')} refs/heads/rollback-1" in there
    assert f"{lab.id('snap')} refs/tags/snap" in there
    assert lab.git("--git-dir", str(bare), "rev-parse", "work") == work


@pytest.mark.parametrize("name", ["pre-receive", "update"])
def test_a_server_hook_that_rejects_is_told_with_its_words(
    lab: Lab, bare: Path, server: str, name: str
) -> None:
    hook(bare, name, "echo 'frozen until monday' >&2\nexit 1\n")
    with lab.open() as repo:
        repo.branch("rollback-1", switch=True)
        with pytest.raises(Refused, match="git-push") as caught:
            repo.push("rollback-1")
    assert "frozen until monday" in str(caught.value)
    assert lab.git("--git-dir", str(bare), "branch", "--list", "rollback-1") == ""


@pytest.mark.requirement("PM-58")
def test_a_protected_branch_is_never_pushed_and_the_remote_is_as_before(
    lab: Lab, bare: Path, server: str
) -> None:
    refs = lab.git("--git-dir", str(bare), "for-each-ref")
    lab.commit("ahead")
    with lab.open(protected=("work", "ma*")) as repo:
        lab.git("branch", "main")
        for name in ("work", "refs/heads/work", "main"):
            for force in (False, True):
                with pytest.raises(Refused, match="protected-refs"):
                    repo.push(name, force=force)
        for name in (":work", "+work", "x:work", "*", "HEAD:refs/heads/work"):
            with pytest.raises(UsageError):
                repo.push(name)
    assert lab.git("--git-dir", str(bare), "for-each-ref") == refs


@pytest.mark.requirement("PM-58")
def test_only_a_branch_made_here_is_forced(lab: Lab, bare: Path, server: str) -> None:
    lab.git("branch", "theirs")
    with lab.open() as repo:
        repo.branch("rollback-emergency", switch=True)
        repo.push("rollback-emergency")
        repo.apply(repo.plan_reset("v1.0.0"), run="r", step="s")
        with pytest.raises(Refused, match="git-push"):
            repo.push("rollback-emergency")
        assert repo.push("rollback-emergency", force=True)["changed"]
        with pytest.raises(Refused, match="git-force"):
            repo.push("theirs", force=True)
    here = lab.git("--git-dir", str(bare), "rev-parse", "rollback-emergency")
    assert here == lab.id("v1.0.0")


def test_a_push_to_a_path_says_that_no_hook_ran(lab: Lab, bare: Path) -> None:
    hook(bare, "pre-receive", "touch ran\nexit 1\n")
    lab.git("remote", "add", "near", str(bare))
    with lab.open() as repo:
        repo.branch("rollback-1")
        fact = repo.push("rollback-1", "near")
    assert fact["server_hooks"] is False
    assert not (bare / "ran").exists()
    assert lab.git("--git-dir", str(bare), "rev-parse", "rollback-1") == lab.id("rollback-1")


def test_a_remote_that_is_not_there_is_unreachable_and_a_strange_way_refused(lab: Lab) -> None:
    lab.git("remote", "add", "gone", "http://127.0.0.1:9/x.git")
    lab.git("config", "remote.evil.url", "ext::sh -c touch% /tmp/never")
    with lab.open() as repo:
        repo.branch("rollback-1")
        with pytest.raises(HostUnreachable):
            repo.push("rollback-1", "gone")
        with pytest.raises(Refused):
            repo.push("rollback-1", "evil")
        with pytest.raises(UsageError):
            repo.push("rollback-1", "unknown")


def test_a_git_tree_is_put_back_by_the_one_writer(lab: Lab, tmp_path: Path) -> None:
    lab.write("bin/tool", "#!/bin/sh\n", mode=0o755)
    (lab.path / "bin/link").symlink_to("tool")
    lab.commit("tools")
    place = tmp_path / "place"
    (place / "bin").mkdir(parents=True)
    (place / "bin/extra").write_text("extra")
    (place / "kept").mkdir()
    host = Host()
    with lab.open() as repo, host.tree(str(place)) as tree, host.tree(str(place / "kept")) as kept:
        source = repo.source(lab.id("HEAD"), "bin")
        put_back(source, tree, at=b"bin", quarantine=kept, intent=Intent(kept, "one"))
        assert not changes(source, tree, at=b"bin")
    assert (place / "bin/tool").stat().st_mode & 0o777 == 0o755
    assert os.readlink(place / "bin/link") == "tool"
    assert not (place / "bin/extra").exists()
