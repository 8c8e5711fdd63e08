"""The fast half arithmetic against PyTorch's own, and what it notes of an overflow."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lqhq.export.half import halved
from lqhq.export.half_arithmetic import HalfArithmetic

HALVES = [torch.float16, torch.bfloat16]
SEED = 17


class Attention(nn.Module):
    """Two heads, with products written out; `bmm`, softmax and a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (2, 8)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        scores = (q @ k.transpose(-1, -2) / math.sqrt(8)).softmax(dim=-1)
        return x + self.out((scores @ v).transpose(1, 2).flatten(2))


class Fused(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None])[:, 0]


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        nn.Conv2d(8, 8, 1),
        nn.ConvTranspose2d(8, 4, 2, stride=2),
    )


NETS = {
    "convolutions": (convolutions, (2, 3, 9, 7)),
    "linear": (lambda: nn.Sequential(nn.Linear(16, 32), nn.SiLU(), nn.Linear(32, 16, bias=False)), (5, 16)),
    "linear of three axes": (lambda: nn.Linear(16, 16), (2, 5, 16)),
    "attention": (Attention, (2, 6, 16)),
    "fused attention": (Fused, (2, 6, 16)),
}


def run(net: nn.Module, x: Tensor, arithmetic: HalfArithmetic) -> Tensor:
    with torch.no_grad(), arithmetic.watching(net), arithmetic:
        return net(x)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", NETS)
def test_it_is_pytorch_s_own_half_within_rounding(name, dtype):
    make, shape = NETS[name]
    torch.manual_seed(SEED)
    net = make()
    x = torch.randn(shape)
    half = halved(net, dtype, ())
    ours, theirs = HalfArithmetic(), HalfArithmetic(native=True)
    found, native = run(half.module, x.to(dtype), ours), run(half.module, x.to(dtype), theirs)
    step = torch.finfo(dtype).eps * native.abs().max()
    assert (found - native).abs().max() <= 2 * step
    noted = {key: value for key, value in ours.largest.items() if key[1] != "attention scores"}  # PyTorch hides them
    assert noted.keys() == theirs.largest.keys()
    assert all(value == pytest.approx(theirs.largest[key], rel=0.02) for key, value in noted.items())
    # The planted fault: float32 that is not rounded on its way is no half arithmetic.
    with torch.no_grad():
        exact = net(x)
    assert not torch.equal(found.float(), exact)
    assert torch.equal(found.float(), found.float().to(dtype).float())


@pytest.mark.parametrize("dtype", HALVES)
def test_a_product_is_float32_s_rounded_once(dtype):
    torch.manual_seed(SEED)
    a, b = torch.randn(5, 64).to(dtype), torch.randn(64, 7).to(dtype)
    with HalfArithmetic():
        found = a @ b
    assert torch.equal(found, (a.float() @ b.float()).to(dtype))
    assert not torch.equal(found.float(), a.float() @ b.float())


class Overflows(nn.Module):
    """1000 times 1000 in the inner layer; the result is about one."""

    def __init__(self) -> None:
        super().__init__()
        self.calm, self.wild = nn.Linear(4, 4), nn.Linear(4, 4, bias=False)
        nn.init.constant_(self.wild.weight, 1000.0)

    def forward(self, x: Tensor) -> Tensor:
        return (self.wild(1000 * torch.ones_like(x)) * 0 + 1).nan_to_num() + self.calm(x)


@pytest.mark.parametrize("native", [False, True])
def test_an_overflow_is_infinite_and_noted_where_it_arose(native):
    net = halved(nn.Sequential(nn.Identity(), Overflows()), torch.float16, ()).module
    arithmetic = HalfArithmetic(native=native)
    found = run(net, torch.ones(1, 4).half(), arithmetic)
    assert torch.isfinite(found).all()  # the result hides it
    infinite = {path for (path, _), value in arithmetic.largest.items() if math.isinf(value)}
    assert infinite == {"1.wild", "1"}  # the layer, and its parent that multiplied what it gave
    assert arithmetic.largest["1.wild", "mm"] == math.inf
    assert arithmetic.largest["1.calm", "addmm"] < 10


def test_bfloat16_does_not_overflow_there():
    net = halved(Overflows(), torch.bfloat16, ()).module
    arithmetic = HalfArithmetic()
    run(net, torch.ones(1, 4).bfloat16(), arithmetic)
    assert arithmetic.largest["wild", "mm"] == pytest.approx(4e6, rel=0.01)


def test_a_nan_counts_as_infinite():
    arithmetic = HalfArithmetic()
    with arithmetic:
        torch.zeros(2, dtype=torch.float16) / 0
    assert arithmetic.largest == {("", "zeros"): 0.0, ("", "div"): math.inf}


def test_the_largest_of_several_calls_is_kept():
    net, arithmetic = nn.Sequential(nn.ReLU()), HalfArithmetic()
    for value in (3.0, 7.0, 5.0):
        run(net, torch.full((1,), value).half(), arithmetic)
    assert arithmetic.largest == {("0", "relu"): 7.0}


@pytest.mark.parametrize("native", [False, True])
def test_mixed_types_are_refused_as_pytorch_refuses_them(native):
    with pytest.raises(RuntimeError, match=r"dtype|same"), HalfArithmetic(native=native):
        torch.ones(2, 2).half() @ torch.ones(2, 2)
    with pytest.raises(RuntimeError, match=r"type|same"), HalfArithmetic(native=native):
        functional.conv2d(torch.ones(1, 1, 3, 3).half(), torch.ones(1, 1, 1, 1).bfloat16())


def test_views_and_float32_are_not_noted():
    """A view has the values of what was noted already, or of an input, which nobody computed."""
    arithmetic = HalfArithmetic()
    x = torch.full((2, 3), 60000.0).half()
    with arithmetic:
        x.reshape(3, 2).transpose(0, 1)[None].chunk(2, dim=1)
        (x.float() * 2).sum()
        torch.empty(0, dtype=torch.float16) + 1
        assert arithmetic.largest == {}
        x.transpose(0, 1).contiguous()
    assert arithmetic.largest == {("", "clone"): 60000.0}


def test_paths_hold_after_an_error_and_hooks_are_taken_away():
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("planted")

    net, arithmetic = nn.Sequential(nn.ReLU(), Fails()), HalfArithmetic()
    x = torch.ones(1).half()
    with pytest.raises(RuntimeError, match="planted"):
        run(net, x, arithmetic)
    arithmetic.largest.clear()
    run(nn.Sequential(nn.ReLU()), x, arithmetic)
    with arithmetic:
        x + x
    assert arithmetic.largest == {("0", "relu"): 1.0, ("", "add"): 2.0}
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in net.modules())


def test_fused_attention_shows_its_scores():
    """PyTorch's fused attention keeps scores in float32 inside, where an exported graph rounds them."""
    draw = torch.Generator().manual_seed(4)
    q, k, v = (torch.randn(1, 2, 9, 16, generator=draw).half() for _ in range(3))
    with torch.no_grad(), HalfArithmetic() as sound:
        near = functional.scaled_dot_product_attention(q, k, v)
    exact = functional.scaled_dot_product_attention(q.float(), k.float(), v.float())
    assert (near - exact).abs().max() < 2e-3
    assert 0 < sound.largest["", "attention scores"] < 20
    with torch.no_grad(), HalfArithmetic() as lost:
        functional.scaled_dot_product_attention(300 * q, 300 * k, v)
    assert lost.largest["", "attention scores"] == math.inf
    mask = torch.zeros(9, 9).half()
    with torch.no_grad(), HalfArithmetic():
        masked = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    assert (masked - exact).abs().max() < 2e-3
