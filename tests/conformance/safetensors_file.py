"""safetensors_file.py: reads and writes safetensors files with NumPy alone.

The format: eight bytes (little-endian) with the length of a JSON header, the header, the tensors' bytes. The header
maps each name to {"dtype", "shape", "data_offsets": [begin, end]}, offsets counted from the end of the header;
"__metadata__" maps strings to strings.
"""
import json

import numpy

TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8",
         "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?"}


def read_safetensors(path):
    """-> ({name: array}, {key: text}). Tensors of types that NumPy lacks (BF16) come as raw U8. Raises ValueError when
    the file is not what the format says: sizes that disagree, ranges outside the file, bytes that no tensor owns."""
    with open(path, "rb") as file:
        content = file.read()
    if len(content) < 8:
        raise ValueError(f"{path}: no safetensors file: shorter than eight bytes")
    begin = 8 + int.from_bytes(content[:8], "little")
    if begin > len(content):
        raise ValueError(f"{path}: the header's length points behind the end of the file")
    header = json.loads(content[8:begin])
    metadata = header.pop("__metadata__", {})
    tensors, owned = {}, []
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        if not 0 <= first <= last <= len(content) - begin:
            raise ValueError(f"{path}: tensor {name} lies outside the file")
        owned.append((first, last))
        data = content[begin + first:begin + last]
        if entry["dtype"] not in TYPES:
            tensors[name] = numpy.frombuffer(data, "u1")
            continue
        array = numpy.frombuffer(data, TYPES[entry["dtype"]])
        if array.size != numpy.prod(entry["shape"], dtype=object):
            raise ValueError(f"{path}: tensor {name} has {array.size} elements, its shape is {entry['shape']}")
        tensors[name] = array.reshape(entry["shape"])
    position = 0
    for first, last in sorted(owned):
        if first != position:
            raise ValueError(f"{path}: tensors overlap or leave a gap at byte {position}")
        position = last
    if position != len(content) - begin:
        raise ValueError(f"{path}: {len(content) - begin - position} bytes behind the last tensor")
    return tensors, metadata


def write_safetensors(path, tensors, metadata=None):
    """Float32 tensors only, in the order given."""
    header, data = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, array in tensors.items():
        part = numpy.ascontiguousarray(array, "<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data)
