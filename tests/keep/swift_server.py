"""A child process: the rings of a Swift of one disk, or one of its four servers, in this process.

Usage: swift_server.py FOLDER rings KIND=PORT… | FOLDER KIND PORT
"""

import importlib
import sys


def rings(folder: str, words: list[str]) -> None:
    ring = importlib.import_module("swift.common.ring")
    with open(f"{folder}/swift.conf", "w", encoding="utf-8") as file:
        file.write(
            "[swift-hash]\nswift_hash_path_suffix = a\nswift_hash_path_prefix = b\n"
            "[storage-policy:0]\nname = only\ndefault = yes\n"
        )
    for word in words:
        kind, _, port = word.partition("=")
        builder = ring.RingBuilder(4, 1, 0)
        builder.add_dev({
            "id": 0, "region": 1, "zone": 1, "device": "d1", "weight": 1.0, "meta": "",
            "ip": "127.0.0.1", "port": int(port),
            "replication_ip": "127.0.0.1", "replication_port": int(port),
        })  # fmt: skip
        builder.rebalance(seed=1)
        builder.get_ring().save(f"{folder}/{kind}.ring.gz")


def serve(folder: str, kind: str, port: int) -> None:
    eventlet = importlib.import_module("eventlet")  # here: once imported it warns at every fork
    eventlet.monkey_patch()  # before anything of Swift is imported
    utils = importlib.import_module("swift.common.utils")
    policies = importlib.import_module("swift.common.storage_policy")
    utils.SWIFT_CONF_FILE = policies.SWIFT_CONF_FILE = f"{folder}/swift.conf"
    utils.HASH_PATH_PREFIX, utils.HASH_PATH_SUFFIX = b"b", b"a"
    policies.reload_storage_policies()
    app = importlib.import_module("swift.common.wsgi").loadapp(f"{folder}/{kind}.conf")
    server = importlib.import_module("eventlet.wsgi")
    server.server(eventlet.listen(("127.0.0.1", port)), app, log_output=False)


if __name__ == "__main__":
    if sys.argv[2] == "rings":
        rings(sys.argv[1], sys.argv[3:])
    else:
        serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
