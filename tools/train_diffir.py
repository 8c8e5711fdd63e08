"""Trains the second demo: a small DiffIR x4 (stage 2) on the photos that `demo_photos.py` collects.

The deployed path is trained end to end: noise, the unrolled denoiser, the restoration. There is no stage 1,
whose prior sees the sharp image: an hour on two cores is better spent on the network that is deployed.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lqhq.export.families.diffir.cpen import WIDTH
from lqhq.export.families.diffir.dirformer import Shape
from lqhq.export.families.diffir.network import DiffIR
from lqhq.export.families.diffir.prior import PriorSchedule
from lqhq.export.families.diffir.stored_schedule import coefficients
from lqhq.tools.demo_metrics import Method
from lqhq.tools.demo_pairs import SCALE, Pairs, to_tensor
from lqhq.tools.demo_run import Rates, Trainer, charbonnier, command

SHAPE = Shape(
    channels=3,
    dim=12,
    blocks=(2, 1, 1, 1),
    refinement=2,
    heads=(1, 2, 4, 8),
    hidden=(26, 52, 105, 211),  # 2.2 times the width, floored
    bias=False,
    norm_bias=False,
    tail=True,
    scale=SCALE,
    residual=False,
)
VIEW = 24  # LR pixels of the part of a patch that CPEN sees: its output is a mean over the image
RATE, KERNEL_RATE, MATRIX_RATE = 2e-3, 5e-4, 0.006  # of AdamW, of AdamW for modulation, of Muon
WARM_UP = 100  # steps until the learning rates are at their peaks
LONGEST = 0.1  # gradient
LEVEL = 0.1  # of every element of the prior at the start
ENCODER_BLOCKS, DENOISER_BLOCKS = 0, 1  # of CPEN, whose other convolutions are a third of all weights already
STEPS, START, END = 4, 0.1, 0.99  # the schedule of the released option files


class DiffIRTrainer(Trainer[DiffIR]):
    """Images are in [0, 1] inside the network, as the official one takes them."""

    side, count, headline = 48, 8, "DiffIR"

    def __init__(self, device: str, shape: Shape = SHAPE) -> None:
        network = build(shape)
        named = list(network.named_parameters())
        rest = [(name, weight) for name, weight in named if not is_matrix(name, weight)]
        super().__init__(
            (network, build(shape)),
            device,
            matrices=[weight for name, weight in named if is_matrix(name, weight)],
            matrix_rate=MATRIX_RATE,
            # A modulation sums 256 elements of the prior, so that one step of AdamW moves it far.
            groups=[
                (RATE, [weight for name, weight in rest if "kernel" not in name]),
                (KERNEL_RATE, [weight for name, weight in rest if "kernel" in name]),
            ],
            rates=Rates(WARM_UP),
            longest=LONGEST,
        )

    def loss(self, pairs: Pairs) -> Tensor:
        lr, hr = (x.to(self.device, memory_format=torch.channels_last) for x in self.batch(pairs))
        view = min(VIEW, self.side)
        top, left = torch.randint(self.side - view + 1, (2,)).tolist()
        part = lr[..., top : top + view, left : left + view].contiguous(memory_format=torch.channels_last)
        noise = torch.randn(len(lr), WIDTH, device=self.device)
        with torch.autocast(self.device, dtype=torch.bfloat16):
            z = self.network.prior(self.network.condition(part), noise)
            error = self.network.G(lr, z).float() - hr
        return charbonnier(error)

    def batch(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """LR and HR in [0, 1]; the colours of each pair are shuffled, since there are few photos."""
        lows, highs = pairs.patches(self.count, self.side)
        rows = torch.arange(self.count)[:, None], torch.stack([torch.randperm(3) for _ in range(self.count)])
        lr, hr = ((to_tensor(images) + 1) / 2 for images in (lows, highs))
        return lr[rows], hr[rows]

    def methods(self, final: bool) -> dict[str, Method]:
        return {self.headline: lambda lr: restore(self.average, lr)}

    def write_checkpoint(self, out: Path) -> None:
        """`net_g_demo.pth`, as BasicSR saves it."""
        both = {"params": official(self.network), "params_ema": official(self.average)}
        torch.save(both, out / "net_g_demo.tmp")
        os.replace(out / "net_g_demo.tmp", out / "net_g_demo.pth")


def build(shape: Shape) -> DiffIR:
    """Starts as nearest-neighbour enlargement, with modulations that change little."""
    c1, c2 = (tuple(buffers()[f"posterior_mean_coef{k}"].tolist()) for k in (1, 2))
    schedule = PriorSchedule(c1, c2)
    network = DiffIR(shape, fold=1, encoder_blocks=ENCODER_BLOCKS, denoiser_blocks=DENOISER_BLOCKS, schedule=schedule)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.startswith("G.tail.1."):
                weight.zero_()
            elif name == "denoise.resmlp.2.resmlp.0.bias":
                weight.fill_(LEVEL)
            elif "kernel" in name:  # rows of scales, then rows of shifts: near 1 and near 0 for a prior at LEVEL
                weight.mul_(0.25)[: len(weight) // 2].add_(1 / (WIDTH * LEVEL))
    return network


def is_matrix(name: str, weight: Tensor) -> bool:
    """Whether Muon takes it: the dense 3x3 convolutions of `G` between the first and the last."""
    dense = weight.ndim == 4 and weight.shape[1] > 1 and weight.shape[2] == 3
    return dense and name.startswith("G.") and not name.startswith(("G.patch_embed.", "G.tail.1."))


def buffers() -> dict[str, Tensor]:
    """The 12 vectors, float32 `[STEPS]`, that the official wrapper stores; beta is linear in its square root."""
    betas = np.linspace(START**0.5, END**0.5, STEPS) ** 2
    product = np.cumprod(1 - betas)
    before = np.append(1.0, product[:-1])
    variance = betas * (1 - before) / (1 - product)
    c1, c2 = coefficients(betas)
    vectors = {
        "betas": betas,
        "alphas_cumprod": product,
        "alphas_cumprod_prev": before,
        "sqrt_alphas_cumprod": np.sqrt(product),
        "sqrt_one_minus_alphas_cumprod": np.sqrt(1 - product),
        "log_one_minus_alphas_cumprod": np.log(1 - product),
        "sqrt_recip_alphas_cumprod": np.sqrt(1 / product),
        "sqrt_recipm1_alphas_cumprod": np.sqrt(1 / product - 1),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": np.log(np.maximum(variance, 1e-20)),
        "posterior_mean_coef1": c1,
        "posterior_mean_coef2": c2,
    }
    return {name: torch.from_numpy(vector).float() for name, vector in vectors.items()}


def official(network: nn.Module) -> dict[str, Tensor]:
    """The state dict under the names of the official class, whose wrapper holds two modules a second time."""
    state = {name: weight.detach().cpu().contiguous() for name, weight in network.state_dict().items()}
    wrapper = {f"diffusion.{name}": vector for name, vector in buffers().items()}
    for own, again in (("denoise.", "diffusion.model."), ("condition.", "diffusion.condition.")):
        wrapper |= {again + name.removeprefix(own): w for name, w in state.items() if name.startswith(own)}
    return state | wrapper


def restore(network: DiffIR, lr: Tensor) -> Tensor:
    """LR `[1, 3, H, W]` to `[1, 3, 4H, 4W]`, both in [-1, 1], padded by reflection as the official script does."""
    height, width = lr.shape[2:]
    padded = functional.pad((lr + 1) / 2, (0, -width % 8, 0, -height % 8), mode="reflect")
    noise = torch.randn(1, WIDTH, generator=torch.Generator().manual_seed(0))
    hq: Tensor = network(padded, noise)[..., : SCALE * height, : SCALE * width]
    return hq.clamp(0, 1) * 2 - 1


if __name__ == "__main__":
    command(__doc__, DiffIRTrainer)
