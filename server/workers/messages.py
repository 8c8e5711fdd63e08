"""What goes between the front process and a worker: orders to it, answers from it.

Tensors are not in the messages but in sheets of shared memory (`sheets.py`), which `place` names.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from lqhq.server.workers.opening import Opened, Opening
from lqhq.server.workers.packets import LostError

__all__ = [
    "Answer",
    "Close",
    "Closed",
    "Failed",
    "Failure",
    "Hello",
    "NotOpened",
    "Open",
    "OpenedModel",
    "Order",
    "Ran",
    "Run",
    "Tensor",
    "Trim",
    "Trimmed",
    "decode_answer",
    "decode_order",
    "encode",
]

Count = Annotated[int, Meta(ge=0)]
Places = Annotated[tuple[Count, ...], Meta(max_length=64)]
Text = Annotated[str, Meta(max_length=2000)]


class Tensor(msgspec.Struct, frozen=True, array_like=True):
    """Where one array lies in a sheet: C order, from byte `at` on; `dtype` as NumPy writes it, such as `<f4`."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    dtype: Annotated[str, Meta(max_length=3)]
    shape: Annotated[tuple[Count, ...], Meta(max_length=8)]
    at: Count


Tensors = Annotated[tuple[Tensor, ...], Meta(max_length=64)]


class Open(msgspec.Struct, frozen=True, tag=True):
    """Open a bundle as `model`, beside the batches that run. Answered by `OpenedModel` or `NotOpened`."""

    model: int
    opening: Opening


class Close(msgspec.Struct, frozen=True, tag=True):
    """Close the sessions of `model`. Answered by `Closed`."""

    model: int


class Run(msgspec.Struct, frozen=True, tag=True):
    """Run a batch. Answered by `Ran` or `Failed`.

    A new sheet comes with it where the place has another than before. Of the worker's own places, those in `free` are
    free again, and of those in `kept` the memory has gone to somebody who keeps it. `alone` is for `SessionPool`.
    """

    number: int
    model: int
    role: str
    place: Count
    tensors: Tensors
    free: Places = ()
    kept: Places = ()
    alone: bool = False


class Trim(msgspec.Struct, frozen=True, tag=True):
    """Nothing runs and nothing will soon: forget all sheets, and give memory back. Answered by `Trimmed`."""


class Hello(msgspec.Struct, frozen=True, tag=True):
    """The worker listens."""


class OpenedModel(msgspec.Struct, frozen=True, tag=True):
    """`model` is open."""

    model: int
    opened: Opened


class Failure(msgspec.Struct, frozen=True):
    """An error on its way: the name of its class, and what it says. See `failures`."""

    kind: Annotated[str, Meta(max_length=100)]
    where: Text
    found: Text
    expected: Text
    mend: Text


class NotOpened(msgspec.Struct, frozen=True, tag=True):
    """`model` could not be opened; nothing of it is."""

    model: int
    failure: Failure


class Closed(msgspec.Struct, frozen=True, tag=True):
    """`model` is not open any more."""

    model: int


class Trimmed(msgspec.Struct, frozen=True, tag=True):
    """All sheets are forgotten."""


class Ran(msgspec.Struct, frozen=True, tag=True):
    """Batch `number` took `ms`, and left its outputs in the worker's sheet at `place`, which may come with it."""

    number: int
    place: Count
    tensors: Tensors
    ms: Annotated[float, Meta(gt=0, lt=1e12)]


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The engine failed at batch `number`; the worker is well."""

    number: int
    failure: Failure


Order = Open | Close | Run | Trim
Answer = Hello | OpenedModel | NotOpened | Closed | Trimmed | Ran | Failed

WRONG = (msgspec.MsgspecError, ValueError)  # ValueError: bytes that are no UTF-8
_ENCODER = msgspec.msgpack.Encoder()
_ORDERS = msgspec.msgpack.Decoder(Order)
_ANSWERS = msgspec.msgpack.Decoder(Answer)


def encode(message: Order | Answer) -> bytes:
    """The bytes of one packet."""
    return _ENCODER.encode(message)


def decode_order(data: bytes | memoryview) -> Order:
    """The order in a packet. Raises `LostError` for anything else."""
    try:
        order: Order = _ORDERS.decode(data)
    except WRONG as error:
        raise LostError(f"an order that cannot be ({error})") from error
    return order


def decode_answer(data: bytes | memoryview) -> Answer:
    """The answer in a packet. Raises `LostError` for anything else."""
    try:
        answer: Answer = _ANSWERS.decode(data)
    except WRONG as error:
        raise LostError(f"an answer that cannot be ({error})") from error
    return answer
