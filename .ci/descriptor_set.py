"""Gathers the descriptors that a folder of generated `*_pb2.py` files holds into one FileDescriptorSet.

    descriptor_set.py FOLDER FILE

The generated files are read, not run: nothing but Python itself is needed.
"""

import ast
import pathlib
import sys


def serialized(source):
    """The bytes that a generated file passes to AddSerializedFile."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "AddSerializedFile":
            return node.args[0].value
    return None


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


folder, target = map(pathlib.Path, sys.argv[1:])
files = (serialized(path.read_text()) for path in sorted(folder.rglob("*_pb2.py")))
target.write_bytes(b"".join(b"\x0a" + varint(len(file)) + file for file in files if file))
