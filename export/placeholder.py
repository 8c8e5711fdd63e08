"""What stands for the content of a torch pickle: records of tensors, and placeholders for all that is not plain data.

`named` and `called` take the place of importing and calling. They know the few names that make tensors and dicts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pickle import UnpicklingError
from typing import Any

__all__ = ["STORED", "Placeholder", "Storage", "StoredTensor", "called", "extend", "is_known", "named", "set_items"]

# Their only use in a checkpoint is an attack. Nothing would run here, but whoever gets the file should know of it.
CODE_MODULES = frozenset(
    ["commands", "ctypes", "importlib", "nt", "os", "posix", "pty", "runpy", "shutil", "socket", "subprocess", "sys"]
)
CODE_BUILTINS = frozenset(["__import__", "breakpoint", "compile", "eval", "exec", "execfile", "input", "open"])
BUILTINS = ("builtins", "__builtin__", "io", "_io")  # open is of io
KINDS = ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
STORED = frozenset(f"{kind}Storage" for kind in KINDS)
REBUILD, PARAMETER = ("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_parameter")
ORDERED = ("collections", "OrderedDict")


@dataclass(frozen=True, slots=True, eq=False)
class Placeholder:
    """A name from the file, nothing else: stands for a class or function, and for all that it would have made."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, slots=True)
class Storage:
    """The numbers under `key` of the archive: `count` of torch's storage class `kind`."""

    kind: str
    key: str
    count: int


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A view of a storage as the file claims it, unchecked but for types; offset and strides in elements."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def named(module: Any, name: Any) -> Placeholder:
    """The placeholder of a global. Raises `UnpicklingError` ("GLOBAL x") for names that only an attack would have."""
    if not (isinstance(module, str) and isinstance(name, str)):
        raise UnpicklingError("a global whose name is no text")
    builtin = module in BUILTINS and name.split(".")[0] in CODE_BUILTINS
    if builtin or module.split(".")[0] in CODE_MODULES:
        raise UnpicklingError(f"GLOBAL {module}.{name} would run code")
    return Placeholder(module, name)


def is_known(name: Placeholder) -> bool:
    """Whether a plain state dict has this name too."""
    pair = (name.module, name.name)
    return pair in (REBUILD, PARAMETER, ORDERED) or (name.module == "torch" and name.name in STORED)


def called(function: Any, arguments: Any) -> Any:
    """What stands for the result of a call: a record or a dict for the known names, else a placeholder."""
    if not isinstance(function, Placeholder):
        return Placeholder(type(function).__name__, "()")
    name, made = (function.module, function.name), None
    if isinstance(arguments, tuple):
        if name == REBUILD:
            made = _tensor(*arguments)
        elif name == PARAMETER and arguments and isinstance(arguments[0], StoredTensor):
            made = arguments[0]
        elif name == ORDERED:
            return _dict(arguments)
    return function if made is None else made


def _tensor(
    storage: Any, offset: Any, size: Any, stride: Any, _grad: Any = None, _hooks: Any = None, metadata: Any = None
) -> StoredTensor | None:
    whole = isinstance(offset, int) and all(
        isinstance(shape, tuple) and all(isinstance(item, int) for item in shape) for shape in (size, stride)
    )
    # metadata: bits such as "conjugate" that change what the numbers mean
    return (
        StoredTensor(storage, offset, size, stride) if isinstance(storage, Storage) and whole and not metadata else None
    )


def _dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """An OrderedDict is called with nothing, or (from Python 2) with a list of pairs."""
    result: dict[Any, Any] = {}
    for pair in arguments[0] if arguments and isinstance(arguments[0], list) else ():
        set_items(result, list(pair))
    return result


def set_items(target: Any, items: list[Any]) -> None:
    """Keys and values in turn. A key that is no text becomes a placeholder, so keys cannot be made to collide."""
    if isinstance(target, dict):
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key if isinstance(key, str) else Placeholder("a key of", type(key).__name__)] = value
    elif not isinstance(target, Placeholder):
        raise UnpicklingError(f"items set on a {type(target).__name__}")


def extend(target: Any, items: list[Any]) -> None:
    """Append to a list; what a placeholder is given is dropped."""
    if isinstance(target, list):
        target.extend(items)
    elif not isinstance(target, Placeholder):
        raise UnpicklingError(f"items appended to a {type(target).__name__}")
