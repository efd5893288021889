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
import hashlib
import json
import os
import struct
import subprocess
import sys
import threading

INDEX = struct.Struct("<32sQQQB3xI")  # id, offset, length, stored length, codec, 0
TAIL = struct.Struct("<QQ32s8s")  # offset of the index, records, SHA-256, magic


def decompressed(data, length):
    try:
        import zstandard
    except ImportError:
        return subprocess.run(
            ["zstd", "-dc"], input=data, stdout=subprocess.PIPE, check=True
        ).stdout
    return zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(data).read(length + 1)


class Store:
    def __init__(self, folder):
        self.folder, self.places = folder, {}
        for name in sorted(os.listdir(os.path.join(folder, "packs"))):
            if name.endswith(".pack"):
                self.learn(os.path.join(folder, "packs", name))

    def learn(self, path):
        with open(path, "rb") as file:
            file.seek(-TAIL.size, os.SEEK_END)
            start, count, checksum, magic = TAIL.unpack(file.read())
            file.seek(start)
            listed = file.read(count * INDEX.size)
        if (
            magic != b"RBPKEND\n"
            or hashlib.sha256(listed + struct.pack("<QQ", start, count)).digest() != checksum
        ):
            print(f"the index of {path} is damaged; it is left out", file=sys.stderr)
            return
        for raw, offset, length, stored, codec, _ in INDEX.iter_unpack(listed):
            self.places.setdefault(raw.hex(), []).append((path, offset, length, stored, codec))

    def get(self, identity):
        for path, offset, length, stored, codec in self.places.get(identity, ()):
            with open(path, "rb") as file:
                file.seek(offset)
                data = file.read(stored)
            data = decompressed(data, length) if codec == 1 else data
            if hashlib.sha256(data).hexdigest() == identity:
                return data
        sys.exit(f"object {identity} is missing or damaged")

    def checkpoints(self):
        for name in sorted(os.listdir(os.path.join(self.folder, "checkpoints"))):
            with open(os.path.join(self.folder, "checkpoints", name), "rb") as file:
                data = file.read()
            if hashlib.sha256(data).hexdigest() + ".json" == name:
                yield name[:-5], json.loads(data)

    def blocks(self, entry):
        if not entry["size"]:
            return []
        if "blocks" not in entry:
            return [entry["sha256"]]
        raw = self.get(entry["blocks"])
        return [raw[at : at + 32].hex() for at in range(0, len(raw), 32)]

    def write(self, entry, to):
        """The bytes of a file go to the open file `to`; they are proved."""
        whole = hashlib.sha256()
        for block in self.blocks(entry):
            data = self.get(block)
            whole.update(data)
            to.write(data)
        if whole.hexdigest() != entry["sha256"]:
            sys.exit(f"the blocks do not make the file {entry['name']}")


def raw(path):
    return path.encode() if isinstance(path, str) else base64.b64decode(path["base64"])


def extract(store, entry, path, top):
    """The entry stands at `path`, which may not exist yet; `top` is where the component stands."""
    if entry["kind"] == "folder":
        os.mkdir(path, 0o700)
        for child in json.loads(store.get(entry["tree"]))["entries"]:
            name = raw(child["name"])
            if not name or b"/" in name or name in (b".", b".."):
                sys.exit(f"a name that leaves its folder: {name!r}")
            if child["kind"] != "hardlink":
                extract(store, child, os.path.join(path, name), top)
            else:
                links.append((raw(child["target"]), os.path.join(path, name)))
    elif entry["kind"] == "symlink":
        os.symlink(raw(entry["target"]), path)
    else:
        with open(path, "xb") as file:
            store.write(entry, file)
    late.append((entry, path))


def dress(entry, path):
    link = entry["kind"] == "symlink"
    if "uid" in entry and os.geteuid() == 0:
        os.chown(path, entry["uid"], entry["gid"], follow_symlinks=False)
    for name, value in entry.get("attributes", {}).items():
        os.setxattr(path, name, base64.b64decode(value))
    if "mode" in entry and not link:
        os.chmod(path, entry["mode"])
    if "mtime_ns" in entry:
        os.utime(path, ns=(entry["mtime_ns"], entry["mtime_ns"]), follow_symlinks=False)


links, late = [], []


class Nowhere:
    write = staticmethod(lambda data: None)


def verify(store, entry):
    if entry["kind"] == "folder":
        return 1 + sum(
            verify(store, one) for one in json.loads(store.get(entry["tree"]))["entries"]
        )
    if entry["kind"] == "file":
        store.write(entry, Nowhere)
    return 1


def main(folder, wanted=None, what="verify", component=None, to=None):
    store = Store(folder)
    found = [(one, record) for one, record in store.checkpoints()
             if wanted is None or one.startswith(wanted) or record["name"] == wanted]  # fmt: skip
    if wanted is None:
        for one, record in sorted(found, key=lambda pair: pair[1]["at"]):
            print(one[:12], record["at"], record["state"], record["name"], *record["components"])
        return
    if len(found) != 1:
        sys.exit(f"{len(found)} checkpoints are called {wanted}")
    for name, part in found[0][1]["components"].items():
        if component in (None, name):
            top = json.loads(store.get(part["manifest"]))["top"]
            if what == "extract" and top is not None:
                target = os.fsencode(to)
                extract(store, top, target, target)
                for first, path in links:
                    os.link(os.path.join(target, first), path)
                for entry, path in late:  # what is in a folder comes before the folder
                    dress(entry, path)
            print(name, 0 if top is None else verify(store, top), "entries proved")


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 6 or len(sys.argv) == 5 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    status = []

    def run():
        try:
            main(*sys.argv[1:])
            status.append(0)
        except SystemExit as stop:
            status.append(stop.code)
        except Exception as error:  # noqa: BLE001 - a lie in the store, whatever it is
            status.append(f"{type(error).__name__}: {error}")

    sys.setrecursionlimit(100_000)
    threading.stack_size(2**29)  # folders may lie as deep as that
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    sys.exit(status[0])
