"""Requests of the V2 protocol, changed so that they are wrong."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

from lqhq.server.protos.inference_pb2 import ModelInferRequest

__all__ = ["INFER_CHANGES", "InferChange", "broken_files"]

InferChange = Callable[[ModelInferRequest, np.random.Generator], bool]
HUGE = 2**40
TEXTS = ("", "x", "image\x00", "../../etc/passwd", "名前", "%s%n", "a" * 5000, "-1", "0", "1e9", "99999999999999999999")


def broken_files(draw: np.random.Generator, file: bytes) -> bytes:
    """What calls itself an image and is none: cut, flipped, empty, noise, or a header that promises gigapixels."""
    kind = int(draw.integers(6))
    if kind == 0:
        return file[: int(draw.integers(0, len(file) // 2))]
    if kind == 1:
        return bytes(draw.integers(0, 256, int(draw.integers(1, 400)), dtype=np.uint8))
    if kind == 2:
        # Width and height of a PNG are big-endian at 16; its checksum is then wrong, too.
        return file[:16] + struct.pack(">II", *map(int, draw.integers(2**14, 2**31 - 1, 2))) + file[24:]
    if kind == 3:
        flipped = bytearray(file)
        for at in draw.permutation(33)[:4]:  # signature and header
            flipped[int(at)] ^= 0xFF
        return bytes(flipped)
    if kind == 4:
        return [
            b"GIF89a",
            b"BM",
            b"II*\x00\xff\xff\xff\xff",
            b"MM\x00*",
            b"\xff\xd8\xff\xe0",
            b"RIFF\xff\xff\xff\xffWEBP",
        ][int(draw.integers(6))] + bytes(draw.integers(0, 256, 64, dtype=np.uint8))
    return b""


def _text(draw: np.random.Generator) -> str:
    return TEXTS[int(draw.integers(len(TEXTS)))]


def _shape(request: ModelInferRequest, draw: np.random.Generator) -> bool:
    """Sides that do not fit the bytes: negative, zero, enormous, one too many."""
    shape = request.inputs[0].shape
    kind = int(draw.integers(4))
    if kind == 3:
        shape.extend([2])
    else:
        shape[int(draw.integers(len(shape)))] = (-1, 0, HUGE)[kind]
    return True


def _datatype(request: ModelInferRequest, draw: np.random.Generator) -> bool:
    kinds = ("", "uint8", "INT8", "FP64", "FP16", "BF16", "BOOL", "COMPLEX")
    request.inputs[0].datatype = kinds[int(draw.integers(len(kinds)))]
    return True


def _raw_length(request: ModelInferRequest, draw: np.random.Generator) -> bool:
    """Bytes too few, too many, none, or two inputs' for one."""
    data, kind = request.raw_input_contents[0], int(draw.integers(4))
    if kind == 3:
        request.raw_input_contents.append(data)
    else:
        request.raw_input_contents[0] = (data[: len(data) // 2], data + b"\x00", b"")[kind]
    return True


def _both_contents(request: ModelInferRequest, draw: np.random.Generator) -> bool:
    request.inputs[0].contents.uint_contents.extend([1, 2, 3])
    return True


def _wrong_contents(request: ModelInferRequest, draw: np.random.Generator) -> bool:
    """Typed values in a field of another type."""
    del request.raw_input_contents[:]
    request.inputs[0].contents.fp64_contents.extend(map(float, draw.random(20)))
    request.inputs[0].datatype = "UINT8"
    return True


def _inputs(request: ModelInferRequest, draw: np.random.Generator) -> bool:
    """No input, an unknown one, the same one twice, hundreds of them."""
    kind = int(draw.integers(4))
    if kind == 0:
        del request.inputs[:]
    elif kind == 1:
        request.inputs[0].name = _text(draw)
    else:
        for _ in range(1 if kind == 2 else 500):
            request.inputs.add().CopyFrom(request.inputs[0])
    return True


def _outputs(request: ModelInferRequest, draw: np.random.Generator) -> bool:
    output = request.outputs.add(name=_text(draw) + "?")
    output.parameters["classification"].int64_param = int(draw.integers(-5, 5))
    return True


def _model(request: ModelInferRequest, draw: np.random.Generator) -> bool:
    request.model_name = "no such " + _text(draw)
    return True


def _version(request: ModelInferRequest, draw: np.random.Generator) -> bool:
    request.model_version = ("x", "-1", "0", "99999999999999999999", "77", "1.5", "１")[int(draw.integers(7))]
    return True


def _parameter_kind(request: ModelInferRequest, draw: np.random.Generator) -> bool:
    """A key that is known, of the wrong kind."""
    name = ("seed", "tile", "schedule", "priority", "timeout", "output_format", "bit_depth")[int(draw.integers(7))]
    request.parameters[name].bool_param = True
    return True


def _parameter_value(request: ModelInferRequest, draw: np.random.Generator) -> bool:
    name = ("tile", "overlap", "priority", "seed", "quality", "bit_depth")[int(draw.integers(6))]
    request.parameters[name].int64_param = (-1, -(2**63))[int(draw.integers(2))]
    return True


def _parameter_text(request: ModelInferRequest, draw: np.random.Generator) -> bool:
    name = ("schedule", "blend", "rules", "output_format", "prior", "color_fix")[int(draw.integers(6))]
    request.parameters[name].string_param = _text(draw) + "?"
    return True


def _unknown_parameters(request: ModelInferRequest, draw: np.random.Generator) -> bool:
    for at in range(int(draw.integers(1, 200))):
        request.parameters[f"{_text(draw)[:50]}{at}"].string_param = _text(draw)
    return True


def _shared_memory(request: ModelInferRequest, draw: np.random.Generator) -> bool:
    request.inputs[0].parameters["shared_memory_region"].string_param = _text(draw) + "r"
    request.inputs[0].parameters["shared_memory_byte_size"].int64_param = HUGE
    return True


def _identifier(request: ModelInferRequest, draw: np.random.Generator) -> bool:
    """Any id of up to 256 characters is taken, so that some of these are good requests."""
    request.id = _text(draw) + "\r\n\x1b[31m"
    return len(request.id) > 256


INFER_CHANGES: tuple[InferChange, ...] = (
    _shape,
    _datatype,
    _raw_length,
    _both_contents,
    _wrong_contents,
    _inputs,
    _outputs,
    _model,
    _version,
    _parameter_kind,
    _parameter_value,
    _parameter_text,
    _unknown_parameters,
    _shared_memory,
    _identifier,
)
