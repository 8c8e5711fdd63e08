"""Which dict of a file is the state dict, and files that keep foreign objects beside it: read, never run."""

from __future__ import annotations

import argparse
import builtins
import os
import subprocess
import sys
import types
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lqhq.export.checkpoint import open_checkpoint
from lqhq.runtime.errors import CheckpointError

NESTED = ("params_ema", "params", "state_dict")
TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2)}
OTHERS = {"b": torch.ones(1)}


@pytest.mark.parametrize(
    ("data", "taken", "note"),
    [
        (TENSORS, "a.bias", ""),
        ({"params": TENSORS, "params_ema": OTHERS}, "b", "took 'params_ema' of params, params_ema; \"state_key\" in"),
        ({"params": TENSORS}, "a.bias", ""),
        ({"params": OTHERS, "params_ema": {}}, "b", "took 'params' of params, params_ema"),
        ({"model": {"params_ema": OTHERS, "params": TENSORS}}, "b", "took 'model' of model"),
        ({"step": 3, "state_dict": OTHERS, "net": TENSORS}, "b", "took 'state_dict' of step, state_dict, net"),
    ],
)
def test_the_first_of_the_nested_names_is_taken(tmp_path, data, taken, note):
    torch.save(data, tmp_path / "w.pth")
    opened = open_checkpoint(tmp_path / "w.pth", nested=NESTED, state_key="model" if "model" in data else None)
    assert taken in opened.tensors
    assert "".join(opened.notes).startswith(note)


def test_without_nested_names_nothing_is_chosen(tmp_path):
    torch.save({"params": TENSORS, "params_ema": OTHERS}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="'params' or 'params_ema'"):
        open_checkpoint(tmp_path / "w.pth")
    assert "a.bias" in open_checkpoint(tmp_path / "w.pth", state_key="params", nested=NESTED).tensors


def test_an_onnx_file_is_refused_by_name(tmp_path):
    (tmp_path / "w.onnx").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"an exported graph \(\.onnx\).*that the graph was exported from"):
        open_checkpoint(tmp_path / "w.onnx")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_is_refused_by_name(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="a TorchScript archive: a program"):
        open_checkpoint(tmp_path / "w.pth")


FAKES = {
    "omegaconf.dictconfig": "DictConfig",
    "omegaconf.listconfig": "ListConfig",
    "omegaconf.nodes": "AnyNode",
    "omegaconf.base": "ContainerMetadata",
    "pytorch_lightning.callbacks.model_checkpoint": "ModelCheckpoint",
}


@pytest.fixture
def lightning(tmp_path: Path) -> Callable[..., Path]:
    """Writes a checkpoint with what Lightning and OmegaConf leave in one; their modules exist while it is written."""

    def write(state: object = TENSORS, *, protocol: int = 2, zipped: bool = True, **more: object) -> Path:
        made = {}
        parents = {module.rsplit(".", at)[0] for module in FAKES for at in range(module.count(".") + 1)}
        sys.modules.update({module: types.ModuleType(module) for module in parents})
        for module, name in FAKES.items():
            made[name] = type(name, (), {"__module__": module})
            setattr(sys.modules[module], name, made[name])
        try:
            config, items, node, meta, callback = (made[name]() for name in FAKES.values())
            meta.__dict__ = {
                "ref_type": dict,
                "object_type": dict,
                "key_type": str,
                "flags": {},
                "resolver_cache": None,
            }
            node.__dict__ = {"_metadata": meta, "_val": 4, "_parent": config}  # cycles, as there
            items.__dict__ = {"_metadata": meta, "_content": [node], "_parent": config}
            config.__dict__ = {"_metadata": meta, "_content": {"dim": node, "heads": items}, "_parent": None}
            data = {
                "epoch": np.int64(3),
                "global_step": 5,
                "pytorch-lightning_version": "1.2.9",
                "callbacks": {type(callback): {"best": np.float64(0.5), "path": Path("x"), "list": {1, 2}}},
                "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1e-4}]}],
                "state_dict": state,
                "hyper_parameters": config,
                "options": argparse.Namespace(a=defaultdict(list, b=[1]), kind=torch.float16, **more),
            }
            file = tmp_path / "last.ckpt"
            torch.save(data, file, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
        finally:
            for module in parents:
                del sys.modules[module]
        return file

    return write


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_lightning_file_gives_its_tensors_and_says_what_it_left(lightning, protocol):
    file = lightning(OrderedDict(TENSORS), protocol=protocol)
    before = set(sys.modules)
    opened = open_checkpoint(file, nested=NESTED)
    assert all(torch.equal(opened.tensors[name], tensor) for name, tensor in TENSORS.items())
    left, took = opened.notes
    assert left.startswith("left out, and never run")
    assert "more" in left
    assert took.startswith("took 'state_dict' of epoch")
    assert not {name for name in set(sys.modules) - before if name.startswith(("omegaconf", "pytorch_lightning"))}
    assert set(open_checkpoint(file, state_key="state_dict").tensors) == set(TENSORS)  # any family, where told


def test_without_a_choice_the_foreign_file_asks_for_one(lightning):
    with pytest.raises(CheckpointError, match=r"\"state_key\" in --config: .*'state_dict'"):
        open_checkpoint(lightning())


def test_the_old_format_with_foreign_classes_is_refused(lightning):
    with pytest.raises(CheckpointError, match="code or foreign classes"):
        open_checkpoint(lightning(zipped=False), nested=NESTED)


class Calls:
    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


class State:
    """A state that would be set on a class of torch, for the whole process."""

    def __reduce__(self) -> tuple:
        return torch.Size, ((1, 2),), {"__module__": "changed"}


def exploits(marker: str) -> dict[str, object]:
    code = f"open({marker!r}, 'w').close()"
    return {
        "system": Calls(os.system, f"touch {marker}"),
        "eval": Calls(builtins.eval, code),
        "exec": Calls(builtins.exec, code),
        "popen": Calls(subprocess.check_call, ["touch", marker]),
        "hub": Calls(torch.hub.load, marker, "x"),
        "bytes": Calls(torch.storage._load_from_bytes, b"\x80\x02cos\nsystem\n."),
        "rebuild": Calls(torch._utils._rebuild_device_tensor_from_numpy, 1, 2, 3, 4),
        "getattr": Calls(getattr, Calls(getattr, "", "__class__"), "__subclasses__"),
        "state": State(),
    }


ATTACKS = ("system", "eval", "exec", "popen")  # names that only an attack has: the file is refused wherever they are


@pytest.mark.parametrize("name", list(exploits("")))
def test_an_exploit_beside_the_weights_never_runs(lightning, tmp_path, name):
    marker = tmp_path / "ran"
    file = lightning(more=[{"deep": exploits(str(marker))[name]}])
    if name in ATTACKS:
        with pytest.raises(CheckpointError, match=r"code or foreign classes: \w+\.\w+; .*would run that code"):
            open_checkpoint(file, nested=NESTED)
    else:
        assert set(open_checkpoint(file, nested=NESTED).tensors) == set(TENSORS)
    assert not marker.exists()


@pytest.mark.parametrize("name", list(exploits("")))
@pytest.mark.parametrize("whole", [True, False])
def test_an_exploit_in_the_weights_never_runs_and_is_refused(lightning, tmp_path, name, whole):
    marker = tmp_path / "ran"
    planted = exploits(str(marker))[name]
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(lightning(planted if whole else {**TENSORS, "planted": planted}), nested=NESTED)
    assert not marker.exists()
    assert "weights_only" not in str(caught.value)
    if not whole and name not in ("state", "rebuild"):
        assert "code or foreign classes" in str(caught.value)


def test_the_trap_is_live(lightning, tmp_path):
    """A loader that trusts pickles does run what is planted."""
    marker = tmp_path / "ran"
    for name in ("system", "eval", "exec", "popen"):
        torch.save({"a": exploits(str(marker))[name]}, tmp_path / "w.pt")
        torch.load(tmp_path / "w.pt", weights_only=False)
        assert marker.exists()
        marker.unlink()


def _mutations(good: bytes, count: int, seed: int) -> list[bytes]:
    """Flips of one to four bits, cuts, and bytes written over, from one seed."""
    draw = np.random.default_rng(seed)
    result = []
    for at in range(count):
        data = bytearray(good)
        if at % 5 == 0:
            del data[int(draw.integers(len(data))) :]
        for _ in range(int(draw.integers(1, 5))):
            if data:
                place = int(draw.integers(len(data)))
                data[place] = data[place] ^ (1 << int(draw.integers(8))) if at % 2 else int(draw.integers(256))
        result.append(bytes(data))
    return result


def _refusals(lightning, tmp_path: Path, count: int, seed: int) -> list[str]:
    """What is said of `count` damaged files; the numbers take few bytes, so most hits are in what describes them."""
    said = []
    for data in _mutations(lightning().read_bytes(), count, seed):
        (tmp_path / "bad.ckpt").write_bytes(data)
        try:
            open_checkpoint(tmp_path / "bad.ckpt", nested=NESTED)
        except CheckpointError as error:
            said.append(str(error))
    return said


def test_damaged_files_end_in_a_checkpoint_error(lightning, tmp_path):
    said = _refusals(lightning, tmp_path, 60, seed=21)
    assert len(said) > 10
    assert all(text.isprintable() for text in said)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(22, 27))
def test_many_damaged_files_end_in_a_checkpoint_error(lightning, tmp_path, seed):
    assert len(_refusals(lightning, tmp_path, 1500, seed)) > 200
