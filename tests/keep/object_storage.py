"""Servers that speak S3, on loopback, in a folder of the test: a light one, a real one, a bad one."""

from __future__ import annotations

import getpass
import http.client
import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ACCESS, SECRET = "test:tester", "a-secret-of-tests"
STARTS_WITHIN_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int, child: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < end:
        assert child.poll() is None, log.read_text()
        with socket.socket() as asked:
            asked.settimeout(1)
            if asked.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"it does not listen: {log.read_text()}")


@contextmanager
def child(argv: list[str], log: Path, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours; it is gone afterwards."""
    with log.open("wb") as out:
        started = subprocess.Popen(argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                                   env={**os.environ, **environ})  # fmt: skip
        try:
            yield started
        finally:
            started.terminate()
            try:
                started.wait(10)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


def store(endpoint: str, **more: Any) -> dict[str, Any]:
    """The declaration of a place there; the references are set by `credentials`."""
    return {"s3": {"bucket": "copies", "prefix": "one", "endpoint": endpoint, "within": "10s",
                   "access_key": "env:S3_ACCESS", "secret_key": "env:S3_SECRET", **more}}  # fmt: skip


def make_bucket(endpoint: str, name: str = "copies") -> None:
    """The bucket exists: signed by boto3, so that our own client is not what made it."""
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id=ACCESS, aws_secret_access_key=SECRET,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required",
                      response_checksum_validation="when_required"),
    )  # fmt: skip
    client.create_bucket(Bucket=name)
    client.close()


@contextmanager
def moto(folder: Path) -> Iterator[str]:
    """The address of a light server in memory, with the bucket `copies`."""
    port = free_port()
    log = folder / "moto.log"
    with child(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], log
    ) as it:
        listens(port, it, log)
        make_bucket(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"


# -- a real one: OpenStack Swift with s3api ---------------------------------------------------------

_SERVER = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
log_name = {kind}
log_level = WARNING
log_address = {folder}/no-syslog
fallocate_reserve = 0
disable_fallocate = true

[pipeline:main]
pipeline = {pipeline}

[app:{kind}-server]
use = egg:swift#{kind}
allow_account_management = true
account_autocreate = true
"""
_PROXY = """
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {secret} .admin
s3_acl = yes

[filter:s3api]
use = egg:swift#s3api
s3_acl = no
check_bucket_owner = false
force_swift_request_proxy_log = false
location = us-east-1
auth_pipeline_check = false

[filter:slo]
use = egg:swift#slo

[filter:copy]
use = egg:swift#copy

[filter:catch_errors]
use = egg:swift#catch_errors
"""


@contextmanager
def swift(folder: Path) -> Iterator[str]:
    """The address of a whole OpenStack Swift of one disk, with the bucket `copies`."""
    (folder / "devices/d1").mkdir(parents=True)
    ports = {kind: free_port() for kind in ("account", "container", "object", "proxy")}
    serve = [sys.executable, str(Path(__file__).with_name("swift_server.py")), str(folder)]
    rings = [f"{kind}={port}" for kind, port in ports.items() if kind != "proxy"]
    subprocess.run([*serve, "rings", *rings], check=True, timeout=60)
    started: dict[int, tuple[subprocess.Popen[bytes], Path]] = {}
    with ExitStack() as stack:
        for kind, port in ports.items():
            pipeline = ("catch_errors s3api tempauth copy slo proxy-server"
                        if kind == "proxy" else f"{kind}-server")  # fmt: skip
            text = _SERVER.format(port=port, user=getpass.getuser(), folder=folder, kind=kind,
                                  pipeline=pipeline)  # fmt: skip
            if kind == "proxy":
                text += _PROXY.format(secret=SECRET)
            (folder / f"{kind}.conf").write_text(text)
            log = folder / f"{kind}.log"
            started[port] = (stack.enter_context(child([*serve, kind, str(port)], log)), log)
        for port, (it, log) in started.items():
            listens(port, it, log)
        make_bucket(f"http://127.0.0.1:{ports['proxy']}")
        yield f"http://127.0.0.1:{ports['proxy']}"


# -- one that fails ---------------------------------------------------------------------------------


@dataclass
class Bad:
    """A way of failing between us and a good server: what `answer` says, after so many requests."""

    endpoint: str
    upstream: str
    mode: str = "good"
    after: int = 0
    seen: int = 0
    paths: str = ""  # what is in the paths of the requests that fail
    methods: tuple[str, ...] = ("PUT", "POST", "GET", "HEAD", "DELETE")
    requests: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def between(upstream: str) -> Iterator[Bad]:
    """A proxy before a server. Modes: good, 503, 403, slow, cut (half an answer), die (none), torn."""
    port = free_port()
    bad = Bad(f"http://127.0.0.1:{port}", upstream)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else b""
            bad.requests.append((self.command, self.path))
            bad.seen += 1
            failing = bad.mode != "good" and bad.seen > bad.after and self.command in bad.methods
            failing = failing and bad.paths in self.path
            if failing and bad.mode in ("503", "403"):
                self._say(int(bad.mode), b"<Error><Code>SlowDown</Code></Error>", {})
                return
            if failing and bad.mode == "die":
                self.close_connection = True
                return
            if failing and bad.mode == "slow":
                time.sleep(1.5)
            if failing and bad.mode == "torn":  # it says yes and keeps nothing
                self._say(200, b"", {"ETag": '"0"'})
                return
            status, data, headers = self._upstream(body)
            if failing and bad.mode == "cut":
                self.close_connection = True
                data = data[: len(data) // 2] if data else data
            self._say(status, data, headers)

        def _upstream(self, body: bytes) -> tuple[int, bytes, dict[str, str]]:
            asked = http.client.HTTPConnection(bad.upstream.removeprefix("http://"), timeout=30)
            headers = {name: value for name, value in self.headers.items()
                       if name.lower() != "connection"}  # fmt: skip
            asked.request(self.command, self.path, body or None, headers)
            answer = asked.getresponse()
            try:
                return answer.status, answer.read(), dict(answer.getheaders())
            finally:
                asked.close()

        def _say(self, status: int, data: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            length = headers.get("Content-Length") if self.command == "HEAD" else None
            for name, value in headers.items():
                if name.lower() not in ("content-length", "connection", "transfer-encoding", "date",
                                        "server"):  # fmt: skip
                    self.send_header(name, value)
            full = len(data) * 2 if self.close_connection and data else len(data)
            self.send_header("Content-Length", length or str(full))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _do  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    server = Server(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield bad
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
