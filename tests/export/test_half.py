"""Where a halved module computes in half, where in float32, and what its borders cast."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lqhq.export.family import RoleGraph
from lqhq.export.half import DTYPES, at_precision, declared_islands, halved
from lqhq.runtime import manifest as m
from lqhq.runtime.errors import OptionError

HALVES = [torch.float16, torch.bfloat16]
CLOSE = {torch.float16: 2e-3, torch.bfloat16: 2e-2}  # of values about one, through two layers


class Squares(nn.Module):
    """Mean of squares by a power: past 65504 within for values of 300, about one outside. It has no weights."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * 300).square().mean(dim=-1, keepdim=True).sqrt() / 300


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.layer = nn.LayerNorm(4), nn.Linear(4, 4)

    def forward(self, x: Tensor, *, gain: Tensor) -> Tensor:
        return x + self.layer(self.norm(x)) * gain


class Net(nn.Module):
    """Two outputs; a table; a block that takes a keyword; a module without weights that overflows in half."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.block, self.squares = nn.Linear(4, 4), Block(), Squares()
        self.register_buffer("table", torch.linspace(0.5, 1, 4))

    def forward(self, x: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        h = self.block(self.first(x) * self.table, gain=x)
        return h / (1 + self.squares(h)), count + 1


def given() -> tuple[Tensor, Tensor]:
    return torch.randn(5, 4, generator=torch.Generator().manual_seed(1)), torch.arange(5)


def types(module: nn.Module) -> dict[str, torch.dtype]:
    return {name: tensor.dtype for name, tensor in module.state_dict().items()}


class Seen:
    """Types of what named modules take and give."""

    def __init__(self, module: nn.Module, *names: str) -> None:
        self.given: dict[str, list[torch.dtype]] = {}
        self.gave: dict[str, torch.dtype] = {}
        for name in names:
            child = module.get_submodule(name)
            # Wrapped, not hooked: a hook would run before or after the casting ones, by order of registration.
            child.forward = self._wrapped(name, child.forward)

    def _wrapped(self, name: str, forward):
        def call(*args, **kwargs):
            self.given[name] = [tensor.dtype for tensor in (*args, *kwargs.values())]
            found = forward(*args, **kwargs)
            self.gave[name] = found.dtype
            return found

        return call


@pytest.mark.parametrize("dtype", HALVES)
def test_weights_are_half_but_for_islands_and_tables(dtype):
    half = halved(Net(), dtype, ["block.norm"])
    assert half.islands == ("block.norm",)
    assert types(half.module) == {
        "first.weight": dtype,
        "first.bias": dtype,
        "block.norm.weight": torch.float32,
        "block.norm.bias": torch.float32,
        "block.layer.weight": dtype,
        "block.layer.bias": dtype,
        "table": torch.float32,
    }
    assert not any(parameter.requires_grad for parameter in half.parameters())
    assert not half.module.training


def test_an_island_holds_what_is_inside_it_and_not_its_namesakes():
    """`block` is no part of `blocks`: a prefix is no path."""
    net = nn.Module()
    net.block, net.blocks = Block(), nn.Linear(4, 4)
    found = types(halved(net, torch.float16, ["block"]).module)
    assert {name for name, dtype in found.items() if dtype == torch.float16} == {"blocks.weight", "blocks.bias"}


@pytest.mark.parametrize("dtype", HALVES)
def test_borders_cast_positional_and_named_inputs(dtype):
    half = halved(Net(), dtype, ["block.norm", "squares"])
    seen = Seen(half.module, "first", "block", "block.norm", "block.layer", "squares")
    out, count = half(*given())
    assert seen.given["first"] == [dtype]
    assert seen.given["block.norm"] == [torch.float32]
    assert seen.gave["block.norm"] == torch.float32  # within; the layer after it gets what the border made of it
    assert seen.given["block.layer"] == [dtype]
    assert seen.given["squares"] == [torch.float32]
    assert (out.dtype, count.dtype) == (torch.float32, torch.int64)
    assert torch.equal(count, given()[1] + 1)
    wide = Seen((half := halved(Net(), dtype, ["block"])).module, "block", "block.layer")
    after = []
    half.module.block.register_forward_hook(lambda module, args, found: after.append(found.dtype))
    half(*given())
    assert wide.given == {"block": [torch.float32, torch.float32], "block.layer": [torch.float32]}
    assert after == [dtype]


@pytest.mark.parametrize("dtype", HALVES)
def test_it_is_near_the_original_and_really_rounded(dtype):
    wanted = Net().eval()(*given())[0]
    apart = (halved(Net(), dtype, ["block.norm", "squares"])(*given())[0] - wanted).abs().max()
    assert 1e-5 < apart < CLOSE[dtype]


def test_a_lost_island_overflows():
    """The planted fault: 300 squared is past 65504."""
    x = torch.full((1, 4), 3.0)
    assert torch.isfinite(halved(Squares(), torch.float32, ())(x)).all()
    assert torch.isfinite(halved(nn.Sequential(Squares()), torch.float16, ["0"])(x.half())).all()
    assert not torch.isfinite(halved(nn.Sequential(Squares()), torch.float16, ())(x.half())).any()


def test_the_whole_as_an_island_is_the_original():
    half = halved(Net(), torch.float16, [""])
    assert set(types(half.module).values()) == {torch.float32}
    assert torch.equal(half(*given())[0], Net().eval()(*given())[0])


def test_the_original_is_left_alone():
    net = Net()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    half = halved(net, torch.float16, ["block"])
    half.module.first.weight.zero_()
    assert set(types(net).values()) == {torch.float32}
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in before.items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert net.training
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_kinds_name_the_outermost_modules():
    net = Net()
    assert declared_islands(net, (nn.LayerNorm, Squares)) == ("block.norm", "squares")
    assert declared_islands(net, (nn.LayerNorm, Block)) == ("block",)
    assert declared_islands(net, (Net, nn.Linear)) == ("",)
    assert declared_islands(net, ()) == ()


def test_a_foreign_island_is_no_submodule():
    with pytest.raises(KeyError):
        halved(Net(), torch.float16, ["absent"])


def role(module: nn.Module, **fields) -> RoleGraph:
    vector = m.Tensor(dtype="float32", shape=("N", 4))
    return RoleGraph(
        role="encode",
        module=module,
        plain=module,
        inputs={"x": vector},
        outputs={"y": vector},
        examples=lambda draw, n, height, width: {"x": draw.normal(size=(n, 4)).astype(np.float32)},
        **fields,
    )


def test_at_precision_takes_the_declared_islands_or_a_plan():
    net = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    graph = role(net, islands=(nn.LayerNorm,))
    assert at_precision(graph, "fp32") is graph
    for precision, dtype in list(DTYPES.items())[1:]:
        found = at_precision(graph, precision)
        assert found.module.islands == ("1",)
        assert types(found.module.module)["0.weight"] == dtype
        assert types(found.module.module)["1.weight"] == torch.float32
        assert found.plain is net
    assert at_precision(graph, "fp16", ("0",)).module.islands == ("0",)
    assert at_precision(graph, "fp16", ()).module.islands == ()


def test_at_precision_halves_the_form_that_the_family_gives():
    other = nn.Sequential(nn.LayerNorm(4))
    found = at_precision(role(nn.Linear(4, 4), half=lambda: other, islands=(nn.LayerNorm,)), "fp16")
    assert found.module.islands == ("0",)
    assert isinstance(found.module.module[0], nn.LayerNorm)


def test_a_plan_for_another_network_is_refused():
    with pytest.raises(
        OptionError,
        match=r"precision plan: encode: found an island 'body\.9'; expected names of this network's modules",
    ):
        at_precision(role(nn.Sequential(nn.Linear(4, 4))), "fp16", ("0", "body.9"))


def test_weights_are_copied_once_in_their_new_type(monkeypatch):
    """Islands keep the tensors that they have; nothing is copied in float32 on the way."""
    net = Net()

    def refuse(*_):
        raise AssertionError("a weight was copied as it is")

    monkeypatch.setattr(nn.Parameter, "__deepcopy__", refuse)
    half = halved(net, torch.float16, ["block"])
    before, after = dict(net.named_parameters()), dict(half.module.named_parameters())
    shared = {name for name in before if before[name].data_ptr() == after[name].data_ptr()}
    assert shared == {name for name in before if name.startswith("block.")}
    with pytest.raises(AssertionError, match="copied as it is"):  # the planted fault: what copying twice would do
        copy.deepcopy(net)


def test_tied_weights_stay_tied_and_buffers_are_their_own():
    net = Net()
    net.first.weight = net.block.layer.weight
    half = halved(net, torch.bfloat16, ["block.norm"])
    assert half.module.first.weight is half.module.block.layer.weight
    assert half.module.first.weight.dtype == torch.bfloat16
    half.module.table.zero_()
    assert net.table.min() == 0.5
