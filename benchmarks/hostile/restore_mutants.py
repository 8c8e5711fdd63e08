"""Requests of lqhq.v1, changed so that they are wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hostile.infer_mutants import broken_files
from lqhq.server.protos import lqhq_v1_pb2 as v1

__all__ = ["RESTORE_CHANGES", "RestoreChange"]

RestoreChange = Callable[[v1.RestoreRequest, np.random.Generator], bool]
BEYOND = 77  # an enum's number that nobody has given out


def _broken_image(request: v1.RestoreRequest, draw: np.random.Generator) -> bool:
    request.image = broken_files(draw, request.image)
    return True


def _model(request: v1.RestoreRequest, draw: np.random.Generator) -> bool:
    request.ask.model.name = ("nobody", "../x", "a" * 3000, "\x00")[int(draw.integers(4))]
    return True


def _version(request: v1.RestoreRequest, draw: np.random.Generator) -> bool:
    request.ask.model.version = int(draw.integers(2**32, 2**63))
    return True


def _request_id(request: v1.RestoreRequest, draw: np.random.Generator) -> bool:
    request.ask.request_id = ("with a space", "x" * 129, "\r\nstatus: 0", "é")[int(draw.integers(4))]
    return True


def _schedule(request: v1.RestoreRequest, draw: np.random.Generator) -> bool:
    request.ask.options.schedule = ("none such", "", "x" * 9999)[int(draw.integers(3))]
    return True


def _tile(request: v1.RestoreRequest, draw: np.random.Generator) -> bool:
    """Sides that no tile has; where a tile is larger than the image it may be taken as the image."""
    request.ask.options.tile = (1, 3, 2**31 - 1, 2**31, 2**32 - 1)[int(draw.integers(5))]
    request.ask.options.overlap = (0, 2**31 - 1, 2**32 - 1)[int(draw.integers(3))]
    return request.ask.options.tile > 2**31 - 1 or request.ask.options.overlap > 2**31 - 1


def _enums(request: v1.RestoreRequest, draw: np.random.Generator) -> bool:
    options = request.ask.options
    kind = int(draw.integers(5))
    if kind == 0:
        options.blend = BEYOND
    elif kind == 1:
        options.rules = BEYOND
    elif kind == 2:
        options.color_fix = BEYOND
    elif kind == 3:
        options.prior = BEYOND
    else:
        request.ask.output.format = BEYOND
    return True


def _output(request: v1.RestoreRequest, draw: np.random.Generator) -> bool:
    if draw.integers(2):
        request.ask.output.bit_depth = (7, 32, 2**32 - 1)[int(draw.integers(3))]
    else:
        request.ask.output.format = v1.IMAGE_FORMAT_JPEG
        request.ask.output.quality = int(draw.integers(101, 2**32 - 1))
    return True


def _deep_jpeg(request: v1.RestoreRequest, draw: np.random.Generator) -> bool:
    request.ask.output.format, request.ask.output.bit_depth = v1.IMAGE_FORMAT_JPEG, 16
    return True


def _mask(request: v1.RestoreRequest, draw: np.random.Generator) -> bool:
    """The demo takes none; neither does the identity."""
    request.mask = request.image
    return True


def _prompt(request: v1.RestoreRequest, draw: np.random.Generator) -> bool:
    request.ask.options.prompt = "a" * int(draw.integers(1, 10_000))
    return True


def _tagger(request: v1.RestoreRequest, draw: np.random.Generator) -> bool:
    request.ask.options.tagger = True
    return True


def _priority(request: v1.RestoreRequest, draw: np.random.Generator) -> bool:
    request.ask.priority = int(draw.integers(10**6, 2**32 - 1))
    return True


RESTORE_CHANGES: tuple[RestoreChange, ...] = (
    _broken_image,
    _model,
    _version,
    _request_id,
    _schedule,
    _tile,
    _enums,
    _output,
    _deep_jpeg,
    _mask,
    _prompt,
    _tagger,
    _priority,
)
