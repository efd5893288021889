#!/usr/bin/env python3
"""Lists, verifies and extracts checkpoints without the tool that made them.

    python3 extract.py STORE                          the checkpoints
    python3 extract.py STORE ID verify                every object of one, read and hashed
    python3 extract.py STORE ID extract COMPONENT TO  one component into the new folder TO

STORE is the folder `store` of a state directory, ID the beginning of an id, or a name. Needs the
standard library and, for compressed objects, the module `zstandard` or the program `zstd`. The
layout is described in formats-checkpoint.md. Exit status 0 only when every byte was proved.
"""

import base64
import contextlib
import hashlib
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

INDEX = struct.Struct("<32sQQQB3xI")  # id, offset, length, stored length, codec, 0
TAIL = struct.Struct("<QQ32s8s")  # offset of the index, records, SHA-256, magic
places = {}  # where each object lies: pack, offset, length, stored length, codec


def learn(path):
    with path.open("rb") as file:
        size = file.seek(-TAIL.size, os.SEEK_END)
        start, count, checksum, magic = TAIL.unpack(tail := file.read())
        file.seek(min(start, size))
        listed = file.read(size - min(start, size))
    digest = hashlib.sha256(listed + tail[:16]).digest()
    if magic != b"RBPKEND\n" or digest != checksum or len(listed) != count * INDEX.size:
        raise ValueError("it is no whole pack")
    for identity, *place, _ in INDEX.iter_unpack(listed):
        places.setdefault(identity.hex(), []).append((path, *place))


def get(identity):
    """The bytes of an object, from the first copy that is good."""
    why = "is missing"
    for path, offset, length, stored, codec in places.get(identity, ()):
        try:
            with path.open("rb") as file:
                file.seek(offset)
                data = file.read(stored)
            if codec == 1:
                try:
                    from zstandard import ZstdDecompressor

                    reader = ZstdDecompressor(max_window_size=2**27).stream_reader(data)
                    data = reader.read(length + 1)
                except ImportError:
                    unzip = subprocess.run(
                        ["zstd", "-dc"], input=data, capture_output=True, check=True
                    )
                    data = unzip.stdout
            if hashlib.sha256(data).hexdigest() == identity:
                return data
            why = "is damaged"
        except Exception as error:  # noqa: BLE001 - whatever is wrong with this copy
            why = f"cannot be read: {error}"
    sys.exit(f"object {identity} {why}")


def read(entry, file):
    """The bytes of a file are proved, and go into the open file, if there is one."""
    one = entry["sha256"] if entry["size"] else ""
    ids = get(entry["blocks"]) if "blocks" in entry else bytes.fromhex(one)
    whole, size, last = hashlib.sha256(), 0, b""
    for at in range(0, len(ids), 32):
        if ids[at : at + 32] != last:  # a hole is many times the same block of zeros
            last = ids[at : at + 32]
            data = get(last.hex())
            hole = "allocated" in entry and not data.strip(b"\0")
        size += len(data)
        if entry["sha256"]:  # a file with great holes has none: its blocks prove it
            whole.update(data)
        if file:
            file.seek(size) if hole else file.write(data)
    if file:
        file.truncate(size)
    if size != entry["size"] or entry["sha256"] not in ("", whole.hexdigest()):
        sys.exit(f"the blocks do not make the file {entry['name']}")


def raw(name):
    return name.encode() if isinstance(name, str) else base64.b64decode(name["base64"])


def take(top, to):
    """Every entry is proved, and stands below `to` if that is given; how many there are."""
    todo, made = [(b"", top)], {}
    while todo:
        path, entry = todo.pop()
        made[path], kind = entry, entry["kind"]
        if kind == "folder":
            if to:
                os.mkdir(to + path, 0o700)
            for child in json.loads(get(entry["tree"]))["entries"]:
                name = raw(child["name"])
                if name in (b"", b".", b"..") or b"/" in name:
                    sys.exit(f"a name that leaves its folder: {name!r}")
                todo.append((path + b"/" + name, child))
        elif kind == "file":
            with open(to + path, "xb") if to else contextlib.nullcontext() as file:
                read(entry, file)
        elif kind == "symlink" and to:
            os.symlink(raw(entry["target"]), to + path)
    for path, entry in made.items() if to else ():
        if entry["kind"] == "hardlink":
            first = b"/" + raw(entry["target"])
            if made[first]["kind"] != "file":
                sys.exit(f"a hard link to no file: {path!r}")
            os.link(to + first, to + path)
    for path, entry in reversed(made.items()) if to else ():  # what is in a folder, then the folder
        if "uid" in entry and os.geteuid() == 0:
            os.chown(to + path, entry["uid"], entry["gid"], follow_symlinks=False)
        for name, value in entry.get("attributes", {}).items():
            os.setxattr(to + path, name, base64.b64decode(value))
        if "mode" in entry and entry["kind"] != "symlink":
            os.chmod(to + path, entry["mode"])
        if "mtime_ns" in entry:
            os.utime(to + path, ns=(entry["mtime_ns"],) * 2, follow_symlinks=False)
    return len(made)


def main(store, wanted="", what="verify", component=None, to=None):
    found = []
    for path in sorted(Path(store, "packs").glob("[!.]*.pack")):
        try:
            learn(path)
        except (OSError, ValueError) as error:
            print(f"{path.name} is left out: {error}", file=sys.stderr)
    for path in sorted(Path(store, "checkpoints").glob("*.json")):
        data, identity = path.read_bytes(), path.stem
        if hashlib.sha256(data).hexdigest() == identity:
            record = json.loads(data)
            if identity.startswith(wanted) or record["name"] == wanted:
                found.append((record["at"], identity[:12], record))
    if wanted and len(found) != 1:
        sys.exit(f"{len(found)} checkpoints are called {wanted}")
    for at, identity, record in sorted(found, key=lambda one: one[:2]):
        if not wanted:
            print(identity, at, record["state"], record["name"], *record["components"])
            continue
        for name, held in record["components"].items():
            if component in (None, name):
                top = json.loads(get(held["manifest"]))["top"]
                print(name, take(top, to and os.fsencode(to)) if top else 0, "entries proved")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3, 4, 6) or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except Exception as error:  # noqa: BLE001 - a lie in the store, whatever it is
        sys.exit(f"{type(error).__name__}: {error}")
