"""Reads Elasticsearch keystores without any of windlass' code: an independent judge of what windlass writes.

    read_keystore.py FILE PASSWORD [FILE PASSWORD]...

prints one line of JSON for each file: {"version", "has_password", "entries": {name: [kind, value in hex]}}, or {"error"}.
Key derivation and checksum are Python's; the block cipher is that of the `openssl` command; only GCM's own sum is here.
"""

import hashlib
import io
import json
import struct
import subprocess
import sys
import zlib


def openssl(cipher, key, data, *more):
    command = ["openssl", "enc", "-e", "-" + cipher, "-K", key.hex(), "-nopad", *more]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


def multiply(x, y):
    """Multiplies in GCM's field: bits are counted from the left, and 0xe1 << 120 is the polynomial."""
    product = 0
    for bit in range(127, -1, -1):
        if y >> bit & 1:
            product ^= x
        x = x >> 1 ^ (0xE1 << 120 if x & 1 else 0)
    return product


def open_gcm(key, nonce, extra, sealed):
    """Returns the plain text of AES-GCM, after its tag was checked."""
    text, tag = sealed[:-16], sealed[-16:]
    bits = 8 * len(key)
    first = nonce + b"\0\0\0\1"
    hash_key, mask = (openssl(f"aes-{bits}-ecb", key, block) for block in (bytes(16), first))
    factor, total = int.from_bytes(hash_key, "big"), 0
    padded = [part + bytes(-len(part) % 16) for part in (extra, text)]
    lengths = struct.pack(">QQ", 8 * len(extra), 8 * len(text))
    stream = b"".join(padded) + lengths
    for start in range(0, len(stream), 16):
        total = multiply(total ^ int.from_bytes(stream[start : start + 16], "big"), factor)
    if bytes(a ^ b for a, b in zip(total.to_bytes(16, "big"), mask)) != tag:
        raise ValueError("the tag does not fit")
    return openssl(f"aes-{bits}-ctr", key, text, "-iv", (nonce + b"\0\0\0\2").hex())


def take(stream, count):
    data = stream.read(count)
    if len(data) != count:
        raise ValueError("it is cut")
    return data


def block(stream, order):
    (size,) = struct.unpack(order + "I", take(stream, 4))
    return take(stream, size)


def java_text(stream):
    (size,) = struct.unpack(">H", take(stream, 2))
    return take(stream, size).decode()


def read(path, password):
    whole = open(path, "rb").read()
    body, footer = whole[:-16], whole[-16:]
    if footer[:8] != bytes.fromhex("c02893e800000000") or struct.unpack(">Q", footer[8:])[0] != zlib.crc32(whole[:-8]):
        raise ValueError("the footer does not fit")
    stream = io.BytesIO(body)
    name = b"elasticsearch.keystore"
    if take(stream, 5 + len(name)) != bytes.fromhex("3fd76c17") + bytes([len(name)]) + name:
        raise ValueError("the head does not fit")
    (version,) = struct.unpack(">I", take(stream, 4))
    (has_password,) = take(stream, 1)
    order = "<" if version >= 5 else ">"
    data = io.BytesIO(block(stream, order))
    if stream.read():
        raise ValueError("something is left before the footer")
    salt, nonce, sealed = (block(data, order) for _ in range(3))
    if data.read():
        raise ValueError("something is left after the entries")
    rounds, size = 210_000 if version >= 6 else 10_000, 32 if version >= 7 else 16
    key = hashlib.pbkdf2_hmac("sha512", password.encode() if has_password else b"", salt, rounds, size)
    plain = io.BytesIO(open_gcm(key, nonce, salt, sealed))
    entries = {}
    (count,) = struct.unpack(">I", take(plain, 4))
    for _ in range(count):
        name = java_text(plain)
        kind = java_text(plain) if version == 3 else None
        entries[name] = [kind, block(plain, ">").hex()]
    if plain.read():
        raise ValueError("something is left after the last entry")
    return {"version": version, "has_password": bool(has_password), "entries": entries}


def main(words):
    for path, password in zip(words[::2], words[1::2]):
        try:
            print(json.dumps(read(path, password)))
        except (ValueError, subprocess.CalledProcessError) as error:
            print(json.dumps({"error": str(error)}))


main(sys.argv[1:])
