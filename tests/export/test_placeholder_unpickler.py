"""A pickle machine that runs nothing: the same trees as pickle's own, and hostile opcodes."""

from __future__ import annotations

import builtins
import collections
import os
import pickle
import struct
import sys
import types
from pathlib import Path

import pytest

from lqhq.export import placeholder_unpickler
from lqhq.export.placeholder import Placeholder, Storage, StoredTensor
from lqhq.export.placeholder_unpickler import unpickle

PLAIN = {
    "text": "a", "numbers": [1, -1, 255, 65535, 1 << 40, 1 << 3000, 1.5, True, False, None], "b": b"x" * 300,
    "tuples": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)), "nested": {"deep": [{"er": "é" * 300}]}, "more": ["a"] * 3,
}  # fmt: skip


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_is_what_pickle_reads(protocol):
    wanted = dict(PLAIN)
    if protocol < 3:
        del wanted["b"]  # bytes are a call of _codecs.encode there
    data = pickle.dumps(wanted, protocol)
    assert unpickle(data).tree == pickle.loads(data) == wanted
    assert unpickle(data).foreign == ()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_ordered_dicts_are_dicts_and_the_rest_is_a_name(protocol):
    tree = {
        "o": collections.OrderedDict(a=1),
        "s": {1, 2},
        "f": frozenset({3}),
        "p": Path("x"),
        "d": collections.Counter("a"),
    }
    found = unpickle(pickle.dumps(tree, protocol)).tree
    assert found["o"] == {"a": 1}
    assert all(isinstance(found[key], Placeholder) for key in "sfpd")
    assert str(found["d"]) == "collections.Counter"


class WithState(dict):
    """Items, attributes, slots, arguments: all that a pickled object can bring."""

    def __init__(self, *given: object) -> None:
        super().__init__(key="value")
        self.given = given

    def __reduce_ex__(self, protocol: int) -> tuple:
        return WithState, (1, 2), {"given": (3,), "more": self.__class__}, iter([4, 5]), iter({"a": 6}.items())


def test_an_object_leaves_nothing_but_its_name():
    found = unpickle(pickle.dumps([WithState(), 7], 4))
    first, second = found.tree
    assert isinstance(first, Placeholder)
    assert first.name == "WithState"
    assert second == 7
    assert not hasattr(first, "__dict__")
    assert len(found.foreign) == 1


def test_keys_that_are_no_text_cannot_collide():
    mask = sys.hash_info.modulus
    found = unpickle(pickle.dumps({k * mask: k for k in range(50)})).tree
    assert len(found) == 50
    assert all(isinstance(key, Placeholder) for key in found)


class Calls:
    """Reduces to any call."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


# What each would do, were it to run, is make the file "ran" in the working directory.
CALLS = {
    "os.system": (Calls(os.system, "touch ran"), "system would run code"),
    "eval": (Calls(builtins.eval, "open('ran', 'w')"), "eval would run code"),
    "exec": (Calls(builtins.exec, "open('ran', 'w')"), "exec would run code"),
    "open": (Calls(builtins.open, "ran", "w"), "open would run code"),
    "import": (Calls(builtins.__import__, "os"), "__import__ would run code"),
    "path": (Calls(Path.touch, Path("ran")), None),
    "map": (Calls(map, print, ["ran"]), None),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_calls_are_names(tmp_path, monkeypatch, name, protocol):
    call, words = CALLS[name]
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps({"weights": 1, "planted": call}, protocol)
    if words:
        with pytest.raises(pickle.UnpicklingError, match=rf"GLOBAL \w+\.{words}"):
            unpickle(data)
    else:
        assert isinstance(unpickle(data).tree["planted"], Placeholder)
    assert not Path("ran").exists()
    assert unpickle(pickle.dumps({"weights": 1})).tree == {"weights": 1}
    if name in ("os.system", "eval", "open", "path"):  # the trap is live
        opened = pickle.loads(data)["planted"]
        if hasattr(opened, "close"):
            opened.close()
        assert Path("ran").exists()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


FLOATS = b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x01tQ."
OPCODES = {
    "names made while reading": (b"\x80\x04" + text("os") + text("system") + b"\x93)R.", "os.system"),
    "dotted names": (b"\x80\x04" + text("builtins") + text("eval.__call__") + b"\x93)R.", "builtins.eval"),
    "a name that is a number": (b"\x80\x04K\x01K\x02\x93.", "whose name is no text"),
    "INST": (b"(S'touch ran'\nios\nsystem\n.", "os.system"),
    "OBJ": (b"(cos\nsystem\nS'touch ran'\no.", "os.system"),
    "EXT1": (b"\x80\x02\x82\x01.", "opcode EXT1"),
    "EXT2": (b"\x80\x02\x83\x01\x00.", "opcode EXT2"),
    "EXT4": (b"\x80\x02\x84\x01\x00\x00\x00.", "opcode EXT4"),
    "PERSID": (b"Pstorage\n.", "opcode PERSID"),
    "NEXT_BUFFER": (b"\x80\x05\x97.", "opcode NEXT_BUFFER"),
    "a persistent id of text": (text("storage") + b"Q.", "no storage"),
    "another tag": (b"(" + text("module") + FLOATS, "no storage"),
    "a path as key": (
        b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("../0") + text("cpu") + b"K\x01tQ.",
        "not described as torch does",
    ),
    "a kind that is text": (b"(" + text("storage") + text("x") + text("0") + b"NK\x01tQ.", "not described"),
    "items on a number": (b"K\x01K\x02K\x03s.", "items set on a int"),
    "append to a dict": (b"}K\x01a.", "appended to a dict"),
    "pop of nothing": (b"0.", "damaged"),
    "a tuple of nothing": (b"\x87.", "damaged"),
    "a mark missing": (b"t.", "damaged"),
    "an empty stack": (b".", "damaged"),
    "an unknown memo": (b"h\x07.", "damaged"),
    "an odd dict": (b"(K\x01d.", "damaged"),
    "no end": (b"K\x01", "damaged"),
    "nothing": (b"", "damaged"),
    "an opcode that does not exist": (b"\xff.", "damaged"),
    "text that is cut": (b"X\xff\xff\xff\x7fabc", "damaged"),
    "bytes of a huge size": (b"\x8e" + b"\xff" * 8 + b"abc", "damaged"),
    "a long number in text": (b"L" + b"9" * 5000 + b"L\n.", "damaged"),
}  # fmt: skip


@pytest.mark.parametrize("name", OPCODES)
def test_hostile_and_broken_opcodes(tmp_path, monkeypatch, name):
    data, words = OPCODES[name]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pickle.UnpicklingError, match=words):
        unpickle(data)
    assert not Path("ran").exists()


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("torch._utilz", "_rebuild_tensor_v2"),
        ("torch", "_utils._rebuild_tensor_v2"),
        ("torch._utils._rebuild_tensor_v2", ""),
        ("torch._utils", "_rebuild_device_tensor_from_numpy"),
        ("torch._utils", "_import_dotted_name"),
        ("torch.hub", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("builtins", "getattr"),
    ],
)
def test_only_exact_names_make_tensors(module, name):
    stored = b"(" + text("storage") + _global("torch", "FloatStorage") + text("0") + text("cpu") + b"K\x04tQ"
    call = b"(" + stored + b"K\x00K\x04\x85K\x01\x85\x89NtR."
    real = unpickle(_global("torch._utils", "_rebuild_tensor_v2") + call)
    assert real.tree == StoredTensor(Storage("FloatStorage", "0", 4), 0, (4,), (1,))
    assert real.foreign == ()
    other = unpickle(_global(module, name) + call)
    assert isinstance(other.tree, Placeholder)
    assert other.foreign == (f"{module}.{name}",)


def test_chains_of_getattr_stay_names():
    """getattr(getattr(str, "__class__"), "__subclasses__")() and a call of what it gave."""
    step = _global("builtins", "getattr") + b"(" + _global("builtins", "str") + text("__class__") + b"tR"
    chain = _global("builtins", "getattr") + b"(" + step + text("__subclasses__") + b"tR)R)R."
    assert str(unpickle(chain).tree) == "builtins.getattr"


def test_state_of_known_names_changes_nothing():
    """BUILD on torch's own function: pickle's machine would set its attributes for the whole process."""
    import torch

    before = dict(vars(torch._utils._rebuild_tensor_v2))
    target = _global("torch._utils", "_rebuild_tensor_v2") + b"(N}" + text("__defaults__") + b"K\x05stb."
    assert isinstance(unpickle(target).tree, Placeholder)
    assert torch._utils._rebuild_tensor_v2.__defaults__ == (None,)
    assert vars(torch._utils._rebuild_tensor_v2) == before


def test_nothing_is_imported(monkeypatch):
    planted = types.ModuleType("planted_module")
    planted.fire = lambda: pytest.fail("called")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "planted_module", planted)
    before = set(sys.modules)
    for module in ("planted_module", "antigravity", "this"):
        assert isinstance(unpickle(_global(module, "fire") + b")R.").tree, Placeholder)
    assert set(sys.modules) == before


def test_bombs_are_bounded(monkeypatch):
    doubled = b"K\x01" + b"2\x86" * 5000 + b"."  # 2 ** 5000 leaves, were anyone to walk them
    assert isinstance(unpickle(doubled).tree, tuple)
    deep = unpickle(b"]" * 100_000 + b"a" * 99_999 + b".").tree
    assert len(deep) == 1
    del deep
    cyclic = unpickle(b"}q\x00" + text("me") + b"h\x00s.").tree
    assert cyclic["me"] is cyclic
    monkeypatch.setattr(placeholder_unpickler, "MAX_OPCODES", 100)
    with pytest.raises(pickle.UnpicklingError, match="more than 100 opcodes"):
        unpickle(b"K\x01" * 101 + b".")
    monkeypatch.setattr(placeholder_unpickler, "MAX_PICKLE_BYTES", 100)
    with pytest.raises(pickle.UnpicklingError, match="a pickle of 203 bytes"):
        unpickle(b"K\x01" * 101 + b".")
