"""Reading a torch pickle that also names foreign classes, without ever having one: they become placeholders.

A Lightning checkpoint keeps its options and callbacks beside the weights (OmegaConf, Namespace, numpy), which
`torch.load(weights_only=True)` refuses. Ways that were weighed and left:

- `torch.load` with a `pickle_module` whose `find_class` is restricted: the machine below is then C's, whose BUILD sets
  attributes of whatever lies on the stack, the allowed functions and classes of torch among them; it also looks for
  TorchScript archives and old tar files, and runs them.
- `torch.serialization.safe_globals` with stand-ins: a list global to the process, fixed to pickle protocol 2, and its
  allowed functions are torch's own, called with what the file says.

So this is a machine of its own over `pickletools.genops`, which parses and runs nothing. Names are never looked up: no
import, no call and no attribute of anything in the file exists here. A tensor is a record of where its numbers lie,
made into a tensor elsewhere, with bounds.
"""

from __future__ import annotations

import pickletools
import struct
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pickle import UnpicklingError
from typing import Any

from lqhq.export.placeholder import STORED, Placeholder, Storage, called, extend, is_known, named, set_items

__all__ = ["Unpickled", "unpickle"]

MAX_PICKLE_BYTES = 64 << 20  # 1500 tensors with their optimisers take under 1 MB: the numbers lie outside
MAX_OPCODES = 4_000_000  # some 10 s; those tensors take about 200 000
DAMAGE = (ValueError, IndexError, KeyError, TypeError, OverflowError, struct.error)


@dataclass(frozen=True, slots=True)
class Unpickled:
    """`tree` of dicts, lists, tuples, text, numbers and records; `foreign` names that became placeholders."""

    tree: Any
    foreign: tuple[str, ...]


def unpickle(data: bytes) -> Unpickled:
    """Read a pickle of any protocol. Raises `UnpicklingError`, whose `GLOBAL x` names what would run code."""
    if len(data) > MAX_PICKLE_BYTES:
        raise UnpicklingError(f"a pickle of {len(data)} bytes, above {MAX_PICKLE_BYTES}")
    machine = _Machine()
    try:
        with warnings.catch_warnings():  # odd escapes in protocol 0 text
            warnings.simplefilter("ignore")
            for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
                if count >= MAX_OPCODES:
                    raise UnpicklingError(f"more than {MAX_OPCODES} opcodes")
                machine.step(opcode.name, argument)
        return Unpickled(machine.pop(), tuple(machine.foreign))
    except DAMAGE as error:
        raise UnpicklingError(f"damaged: {error}") from error


class _Machine:
    """Stack, marks and memo of the pickle machine; `step` handles one opcode."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under the marks
        self.memo: dict[int, Any] = {}
        self.foreign: dict[str, None] = {}

    def step(self, opcode: str, argument: Any) -> None:
        if opcode in PUSHED:
            self.push(argument)
        elif opcode in CONSTANTS:
            self.push(CONSTANTS[opcode])
        elif opcode in HANDLERS:
            HANDLERS[opcode](self, argument)
        elif opcode not in ("PROTO", "FRAME", "STOP"):
            # PERSID, EXT1 and the buffers speak of things outside of the file.
            raise UnpicklingError(f"opcode {opcode}, which no checkpoint has")

    def push(self, item: Any) -> None:
        self.stack.append(item)

    def pop(self) -> Any:
        return self.stack.pop()

    def last(self, count: int) -> tuple[Any, ...]:
        """Pop `count` items."""
        if len(self.stack) < count:
            raise IndexError("the stack is too short")
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        return items

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def marked(self) -> list[Any]:
        """Pop what lies above the last mark, and the mark."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def put(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def push_name(self, module: Any, name: Any) -> None:
        placeholder = named(module, name)
        if not is_known(placeholder):
            self.foreign[str(placeholder)] = None
        self.push(placeholder)


def _add(into: Callable[[Any, list[Any]], None], count: int | None) -> Callable[[_Machine, Any], None]:
    """A handler that adds the last `count` items, or all above the mark, to what lies under them."""

    def handler(machine: _Machine, _: Any) -> None:
        items = machine.marked() if count is None else list(machine.last(count))
        into(machine.stack[-1], items)

    return handler


def _new_dict(machine: _Machine, _: Any) -> None:
    items = machine.marked()
    machine.push({})
    set_items(machine.stack[-1], items)


def _new_set(machine: _Machine, _: Any) -> None:
    machine.marked()  # no state dict has a set, and hashing its items could be made to take long
    machine.push(SET)


def _stored(machine: _Machine, _: Any) -> None:
    """BINPERSID: `("storage", torch.FloatStorage, key, device, count)`."""
    told = machine.pop()
    if not (isinstance(told, tuple) and len(told) == 5 and told[0] == "storage"):
        raise UnpicklingError("a persistent id that is no storage")
    _tag, kind, key, _device, count = told
    if not (isinstance(kind, Placeholder) and isinstance(key, str) and key.isalnum() and isinstance(count, int)):
        raise UnpicklingError("a storage that is not described as torch does")
    machine.push(Storage(kind.name, key, count) if kind.module == "torch" and kind.name in STORED else kind)


def _call(machine: _Machine, _: Any) -> None:
    machine.push(called(*machine.last(2)))


def _call_ex(machine: _Machine, _: Any) -> None:
    machine.push(called(*machine.last(3)[:2]))


def _call_marked(machine: _Machine, _: Any) -> None:
    function, *arguments = machine.marked()
    machine.push(called(function, tuple(arguments)))


def _call_named(machine: _Machine, names: str) -> None:
    arguments = tuple(machine.marked())
    machine.push_name(*names.split(" ", 1))
    machine.push(called(machine.pop(), arguments))


NUMBERS = frozenset(["INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"])
TEXTS = frozenset(
    ["STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"]
)
PUSHED = NUMBERS | TEXTS | {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
SET = Placeholder("builtins", "set")
CONSTANTS: Mapping[str, Any] = {
    "NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (), "EMPTY_SET": SET,
}  # fmt: skip
HANDLERS: Mapping[str, Callable[[_Machine, Any], None]] = {
    "MARK": lambda machine, _: machine.mark(),
    "POP": lambda machine, _: machine.pop(),
    "POP_MARK": lambda machine, _: machine.marked().clear(),
    "DUP": lambda machine, _: machine.push(machine.stack[-1]),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.marked())),
    "TUPLE1": lambda machine, _: machine.push(machine.last(1)),
    "TUPLE2": lambda machine, _: machine.push(machine.last(2)),
    "TUPLE3": lambda machine, _: machine.push(machine.last(3)),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "LIST": lambda machine, _: machine.push(machine.marked()),
    "APPEND": _add(extend, 1),
    "APPENDS": _add(extend, None),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "DICT": _new_dict,
    "SETITEM": _add(set_items, 2),
    "SETITEMS": _add(set_items, None),
    "ADDITEMS": lambda machine, _: machine.marked().clear(),
    "FROZENSET": _new_set,
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, key: machine.push(machine.memo[key])),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda machine, key: machine.put(key)),
    "MEMOIZE": lambda machine, _: machine.put(len(machine.memo)),
    "GLOBAL": lambda machine, names: machine.push_name(*names.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.push_name(*machine.last(2)),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _call),
    "NEWOBJ_EX": _call_ex,
    "OBJ": _call_marked,
    "INST": _call_named,
    "BUILD": lambda machine, _: machine.pop(),  # the state of an object that does not exist
    "BINPERSID": _stored,
}
