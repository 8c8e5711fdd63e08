"""Networks that attend by chunks give what they gave, and share their weights."""

from __future__ import annotations

import pytest
import torch

from lqhq.export import chunked_attention
from lqhq.export.families.indi.guided_unet import GuidedShape, GuidedUNet
from lqhq.export.families.indi.load_diffusers import PlainUNet
from lqhq.export.families.lq_ddpm.attention import chunked_diffusers, chunked_guided


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks even for the small images here."""
    monkeypatch.setattr(chunked_attention, "MOST_SCORES", 100)


def guided(*, new_order: bool) -> GuidedUNet:
    torch.manual_seed(3)
    return GuidedUNet(
        GuidedShape(
            in_channels=3,
            out_channels=6,
            width=32,
            widths=(32, 32),
            blocks=1,
            attention=frozenset({1}),
            scale_shift=True,
            updown=False,
            heads=4,
            heads_up=2,
            head_width=0,
            new_order=new_order,
        )
    ).eval()


@pytest.mark.parametrize("new_order", [False, True])
@torch.no_grad()
def test_guided_diffusion_s(new_order: bool) -> None:
    plain = guided(new_order=new_order)
    made = chunked_guided(plain)
    x, t = torch.randn(2, 3, 8, 12), torch.tensor([3.0, 400.0])
    assert (made(x, t) - plain(x, t)).abs().max() < 1e-5
    assert {id(one) for one in made.parameters()} == {id(one) for one in plain.parameters()}


@torch.no_grad()
def test_diffusers() -> None:
    from diffusers import UNet2DModel

    torch.manual_seed(4)
    unet = UNet2DModel(
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        layers_per_block=1,
    )
    plain = PlainUNet(unet).eval()
    made = chunked_diffusers(plain)
    x, t = torch.randn(2, 3, 8, 12), torch.tensor([3.0, 400.0])
    assert (made(x, t) - plain(x, t)).abs().max() < 1e-5
    assert {id(one) for one in made.parameters()} == {id(one) for one in plain.parameters()}
    kinds = {type(one.processor).__name__ for one in made.modules() if hasattr(one, "to_q")}
    assert kinds == {"_Processor"}
