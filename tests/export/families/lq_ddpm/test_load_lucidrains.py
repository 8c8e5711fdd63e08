"""denoising-diffusion-pytorch's format: a checkpoint in its form, and its Unet once more, written out in functions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lqhq.export.families import FAMILIES
from lqhq.export.families.lq_ddpm.lucidrains_unet import LucidShape, LucidUNet
from lqhq.export.load import Model, load_model
from lqhq.export.settings import Settings
from lqhq.runtime.errors import CheckpointError
from lqhq.runtime.samplers.diffusion import guided_process

(FAMILY,) = (family for family in FAMILIES if family.name == "lq-ddpm")
SHAPE: dict[str, Any] = {
    "channels": 3,
    "outputs": 3,
    "width": 8,
    "widths": (8, 16, 24),
    "times": (12, 40),  # where the first convolution has a width of its own
    "full": (False, False, True),
    "heads": 2,
    "head_width": 4,
    "memories": 3,
}
TOLD = {"objective": "pred_v", "attn_dim_head": 4}
Tensors = dict[str, Tensor]


def weights(seed: int) -> Tensors:
    torch.manual_seed(seed)
    own = LucidUNet(LucidShape(**SHAPE)).state_dict()
    return {name: 0.3 * torch.randn_like(tensor) for name, tensor in own.items()}


def stored(plain: Tensors, averaged: Tensors) -> dict[str, Any]:
    """As its trainer saves: the process around the network, and the average around both."""
    process = guided_process(schedule="cosine")
    buffers = {
        "betas": torch.tensor(process.betas, dtype=torch.float32),
        "alphas_cumprod": torch.tensor(process.alphas_cumprod, dtype=torch.float32),
    }

    def around(tensors: Tensors) -> Tensors:
        return {**buffers, **{f"model.{name}": tensor for name, tensor in tensors.items()}}

    ema = {f"online_model.{name}": tensor for name, tensor in around(plain).items()}
    ema |= {f"ema_model.{name}": tensor for name, tensor in around(averaged).items()}
    ema |= {"initted": torch.tensor(True), "step": torch.tensor(7)}
    return {"step": 7, "model": around(plain), "opt": {"state": {}}, "ema": ema, "scaler": None, "version": "2.3.1"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model-7.pt"
    torch.save(stored(weights(1), weights(2)), path)
    return path


def loaded(path: Path, *, config: dict[str, Any] | None = None, **settings: Any) -> Model:
    return load_model(FAMILY, path, config=TOLD if config is None else config, flags=Settings(**settings))


def rms(w: Tensors, name: str, x: Tensor) -> Tensor:
    return x / x.norm(dim=1, keepdim=True) * w[f"{name}.g"] * math.sqrt(x.shape[1])


def conv(w: Tensors, name: str, x: Tensor, pad: int = 0) -> Tensor:
    return functional.conv2d(x, w[f"{name}.weight"], w.get(f"{name}.bias"), padding=pad)


def resnet(w: Tensors, name: str, x: Tensor, time: Tensor) -> Tensor:
    film = functional.linear(functional.silu(time), w[f"{name}.mlp.1.weight"], w[f"{name}.mlp.1.bias"])
    half = film.shape[1] // 2
    h = rms(w, f"{name}.block1.norm", conv(w, f"{name}.block1.proj", x, 1))
    h = functional.silu(h * (1 + film[:, :half, None, None]) + film[:, half:, None, None])
    h = functional.silu(rms(w, f"{name}.block2.norm", conv(w, f"{name}.block2.proj", h, 1)))
    return h + (conv(w, f"{name}.res_conv", x) if f"{name}.res_conv.weight" in w else x)


def attention(w: Tensors, name: str, x: Tensor, full: bool) -> Tensor:
    """One image and one head at a time."""
    heads, width = SHAPE["heads"], SHAPE["head_width"]
    qkv = conv(w, f"{name}.to_qkv", rms(w, f"{name}.norm", x)).flatten(2)
    memory, images = w[f"{name}.mem_kv"], []
    for image in qkv:
        found = []
        for head in range(heads):
            q, k, v = (image[(part * heads + head) * width :][:width] for part in range(3))  # [D, T]
            mk, mv = (memory[part, head].T if full else memory[part, head] for part in (0, 1))
            k, v = torch.cat([mk, k], 1), torch.cat([mv, v], 1)
            if full:
                found.append(v @ (q.T @ k / math.sqrt(width)).softmax(-1).T)
            else:
                context = k.softmax(-1) @ v.T  # [d, e]
                found.append(context.T @ (q.softmax(0) / math.sqrt(width)))
        images.append(torch.cat(found))
    mixed = torch.stack(images).unflatten(2, x.shape[2:])
    if full:
        return x + conv(w, f"{name}.to_out", mixed)
    return x + rms(w, f"{name}.to_out.1", conv(w, f"{name}.to_out.0", mixed))


def reference(w: Tensors, x: Tensor, t: Tensor) -> Tensor:
    half = SHAPE["times"][0] // 2
    angles = t[:, None] * torch.exp(-math.log(10000) * torch.arange(half) / (half - 1))
    time = torch.cat([angles.sin(), angles.cos()], 1)
    time = functional.gelu(functional.linear(time, w["time_mlp.1.weight"], w["time_mlp.1.bias"]))
    time = functional.linear(time, w["time_mlp.3.weight"], w["time_mlp.3.bias"])
    x = first = conv(w, "init_conv", x, 3)
    skips, levels = [], len(SHAPE["widths"])
    for i in range(levels):
        x = resnet(w, f"downs.{i}.0", x, time)
        skips.append(x)
        x = attention(w, f"downs.{i}.2", resnet(w, f"downs.{i}.1", x, time), SHAPE["full"][i])
        skips.append(x)
        if i == levels - 1:
            x = conv(w, f"downs.{i}.3", x, 1)
        else:
            # b c (h 2) (w 2) -> b (c 2 2) h w
            n, c, high, wide = x.shape
            folded = x.reshape(n, c, high // 2, 2, wide // 2, 2).permute(0, 1, 3, 5, 2, 4)
            x = conv(w, f"downs.{i}.3.1", folded.reshape(n, 4 * c, high // 2, wide // 2))
    x = attention(w, "mid_attn", resnet(w, "mid_block1", x, time), True)
    x = resnet(w, "mid_block2", x, time)
    for i in range(levels):
        x = resnet(w, f"ups.{i}.0", torch.cat([x, skips.pop()], 1), time)
        x = resnet(w, f"ups.{i}.1", torch.cat([x, skips.pop()], 1), time)
        x = attention(w, f"ups.{i}.2", x, SHAPE["full"][levels - 1 - i])
        if i < levels - 1:
            x = conv(w, f"ups.{i}.3.1", x.repeat_interleave(2, 2).repeat_interleave(2, 3), 1)
        else:
            x = conv(w, f"ups.{i}.3", x, 1)
    return conv(w, "final_conv", resnet(w, "final_res_block", torch.cat([x, first], 1), time))


@pytest.mark.parametrize(("kind", "seed"), [("ema", 2), ("model", 1)])
def test_the_network_is_that_of_the_formulas(file: Path, kind: str, seed: int) -> None:
    model = loaded(file, weights=kind)
    torch.manual_seed(5)
    x, t = torch.randn(2, 3, 12, 16), torch.tensor([3.0, 250.5])
    with torch.no_grad():
        wanted = reference(weights(seed), x, t)
        assert (model.network.module(x, t) - wanted).abs().max() < 2e-5 * wanted.abs().max()
    assert ("averaged weights (EMA)" in " ".join(model.notes)) == (kind == "ema")


def test_it_becomes_tables_of_its_own_process(file: Path) -> None:
    recipe = loaded(file, steps=20, max_strength=0.2).recipe
    abar = guided_process(schedule="cosine").alphas_cumprod[199]
    table = recipe.schedules["ddim-04"]
    assert table.rows[0].t == 199
    assert (table.start.c_img, table.rows[0].p) == pytest.approx((math.sqrt(abar), math.sqrt(abar)), rel=1e-6)
    assert recipe.graphs[0].pred == "v"
    assert (recipe.prepare[0].multiple, recipe.task) == (4, "degradation")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"attn_dim_head": 4}, 'Put "objective"'),
        ({"objective": "pred_v"}, "attn_dim_head"),
        ({**TOLD, "objective": "pred_y"}, "objective"),
    ],
)
def test_what_the_file_does_not_tell_is_asked_for(file: Path, config: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        loaded(file, config=config)


def test_a_network_without_its_process_is_refused(tmp_path: Path) -> None:
    torch.save(weights(1), tmp_path / "unet.pt")
    with pytest.raises(CheckpointError, match="without the process"):
        loaded(tmp_path / "unet.pt")


def test_weights_that_the_file_has_not_are_refused(tmp_path: Path) -> None:
    torch.save({"model": stored(weights(1), weights(2))["model"]}, tmp_path / "model-7.pt")
    with pytest.raises(CheckpointError, match="no state dict at 'ema' among model"):
        loaded(tmp_path / "model-7.pt", weights="ema")


def test_another_order_of_the_memories_would_be_seen(file: Path) -> None:
    """The planted fault: keys of the memory in place of its values."""
    tensors = weights(2)
    tensors["mid_attn.mem_kv"] = tensors["mid_attn.mem_kv"].flip(0)
    torch.manual_seed(5)
    x, t = torch.randn(1, 3, 8, 8), torch.tensor([3.0])
    with torch.no_grad():
        assert (loaded(file).network.module(x, t) - reference(tensors, x, t)).abs().max() > 1e-3
