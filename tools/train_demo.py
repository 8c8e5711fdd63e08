"""Trains the demo model: a small InDI x4 network on the photos that `demo_photos.py` collects.

The run lasts `--minutes` of wall-clock time (the learning rate follows the clock), writes its state every few
minutes, and continues from it with `--resume`. Lessons behind the settings: a plain L1-like loss, no noise, and most
samples at t = 1, which is where the one-step schedule runs.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from lqhq.export.families.indi.film_resnet import FilmResNet

CONFIG = {"width": 64, "blocks": 8, "time_width": 64, "fold": 4}
SCALE = 4
MARGIN = 3  # LR pixels cut away after enlarging, so that y does not feel the patch border


def to_tensor(image: np.ndarray) -> Tensor:
    """uint8 `[..., H, W, 3]` to float32 `[..., 3, H, W]` in [-1, 1]."""
    return torch.from_numpy(np.array(image)).float().div(127.5).sub(1).movedim(-1, -3)


def reduce4(hr: np.ndarray) -> np.ndarray:
    """Antialiased bicubic /4, rounded to uint8 as a camera or a user's file would be."""
    height, width = hr.shape[:2]
    small = Image.fromarray(hr).resize((width // SCALE, height // SCALE), Image.Resampling.BICUBIC)
    return np.asarray(small)


def enlarge4(lr: Tensor) -> Tensor:
    """Bicubic x4 (a = -0.5), equal to Pillow's."""
    return functional.interpolate(lr, scale_factor=SCALE, mode="bicubic", antialias=True)


class Pairs:
    """Aligned HR and LR images of one folder, and random patches from them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.names = sorted(folder.glob("*.png"))
        self.hr = [np.asarray(Image.open(name).convert("RGB")) for name in self.names]
        self.lr = [reduce4(hr) for hr in self.hr]
        self.draw = random.Random(seed)
        self.share = [math.sqrt(lr.shape[0] * lr.shape[1]) for lr in self.lr]

    def patch(self, side: int) -> tuple[np.ndarray, np.ndarray]:
        """LR patch `[side + 2 MARGIN, ...]` and the HR patch of its core, the livelier of two, flipped at random."""
        best: tuple[float, np.ndarray, np.ndarray] | None = None
        for _ in range(2):
            (index,) = self.draw.choices(range(len(self.lr)), self.share)
            lr, hr, whole = self.lr[index], self.hr[index], side + 2 * MARGIN
            top = self.draw.randrange(lr.shape[0] - whole + 1)
            left = self.draw.randrange(lr.shape[1] - whole + 1)
            low = lr[top : top + whole, left : left + whole]
            rows, columns = (SCALE * (start + MARGIN) for start in (top, left))
            high = hr[rows : rows + SCALE * side, columns : columns + SCALE * side]
            contrast = float(np.abs(np.diff(low.astype(np.float32), axis=0)).mean())
            if best is None or contrast > best[0]:
                best = (contrast, low, high)
        assert best is not None
        turns, flip = self.draw.randrange(4), self.draw.random() < 0.5
        low, high = (np.rot90(image, turns) for image in best[1:])
        return (low[:, ::-1], high[:, ::-1]) if flip else (low, high)

    def batch(self, count: int, side: int) -> tuple[Tensor, Tensor]:
        """`x0` and `y`, both `[count, 3, 4 side, 4 side]`."""
        lows, highs = zip(*(self.patch(side) for _ in range(count)), strict=True)
        cut = SCALE * MARGIN
        y = enlarge4(to_tensor(np.stack(lows)))[..., cut:-cut, cut:-cut]
        return to_tensor(np.stack(highs)), y


def luma(image: Tensor) -> Tensor:
    """BT.601 Y in 0..255 of `[3, H, W]` in [-1, 1], borders of one LR pixel cut away."""
    weights = torch.tensor([65.481, 128.553, 24.966])
    y = 16 + torch.einsum("c,chw->hw", weights, (image.clamp(-1, 1) + 1) / 2)
    return y[SCALE:-SCALE, SCALE:-SCALE]


def psnr_y(image: Tensor, hr: Tensor) -> float:
    return 10 * math.log10(255**2 / float((luma(image) - luma(hr)).square().mean()))


def ssim_y(image: Tensor, hr: Tensor) -> float:
    """SSIM (Wang et al. 2004): 11x11 Gaussian window, sigma 1.5, on Y."""
    axis = torch.arange(11) - 5.0
    line = torch.exp(-axis.square() / (2 * 1.5**2))
    window = (line[:, None] * line[None, :] / line.sum() ** 2)[None, None].double()
    a, b = luma(image)[None, None].double(), luma(hr)[None, None].double()

    def blur(x: Tensor) -> Tensor:
        return functional.conv2d(x, window)

    mean_a, mean_b, c1, c2 = blur(a), blur(b), (0.01 * 255) ** 2, (0.03 * 255) ** 2
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    cov = blur(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    return float((top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())


class LinearFilter:
    """The rival: every HR pixel of a 4x4 cell is the best linear mix of 5x5 LR pixels, fitted on training photos."""

    def __init__(self, pairs: Pairs, patches: int = 3000) -> None:
        gram, cross = torch.zeros(25, 25).double(), torch.zeros(25, 16).double()
        for _ in range(patches // 50):
            x0, _ = pairs.batch(1, 24)  # advances the generator; the fit uses its own aligned patches
            lows, highs = zip(*(pairs.patch(24) for _ in range(50)), strict=True)
            cut = MARGIN - 2
            low = to_tensor(np.stack(lows))[..., cut:-cut, cut:-cut]
            cells = functional.unfold(low.reshape(-1, 1, *low.shape[2:]), 5).movedim(1, 2)
            high = to_tensor(np.stack(highs)).reshape(-1, 1, 96, 96)
            target = functional.pixel_unshuffle(high, SCALE).flatten(2).movedim(1, 2)
            gram += torch.einsum("npi,npj->ij", cells.double(), cells.double())
            cross += torch.einsum("npi,npo->io", cells.double(), target.double())
        self.weights = torch.linalg.solve(gram, cross).float()

    def __call__(self, lr: Tensor) -> Tensor:
        """`[1, 3, H, W]` to `[1, 3, 4H, 4W]`."""
        padded = functional.pad(lr, (2, 2, 2, 2), mode="replicate").movedim(0, 1)
        cells = functional.unfold(padded, 5).movedim(1, 2) @ self.weights
        cells = cells.movedim(1, 2).reshape(3, 16, *lr.shape[2:])
        return functional.pixel_shuffle(cells, SCALE).movedim(0, 1)


def restore(network: FilmResNet, y: Tensor, steps: int) -> Tensor:
    """InDI without noise: x <- F/k + (1 - 1/k) x for k = steps..1."""
    x = y
    for k in range(steps, 0, -1):
        x = network(x, torch.full((len(x),), k / steps)) / k + (1 - 1 / k) * x
    return x


@torch.no_grad()
def validate(network: FilmResNet, pairs: Pairs, linear: LinearFilter | None = None) -> dict:
    """Mean PSNR-Y and SSIM over whole photos, for one to four steps and, with `linear`, for the rivals."""
    network.eval()
    rows: dict[str, list[tuple[float, float]]] = {}
    for hr8, lr8 in zip(pairs.hr, pairs.lr, strict=True):
        hr, lr = to_tensor(hr8), to_tensor(lr8)[None]
        y = enlarge4(lr)
        results = {f"N={n}": restore(network, y, n)[0] for n in ((1, 2, 4) if linear else (1,))}
        if linear:
            results |= {"bicubic": y[0], "linear": linear(lr)[0]}
        for name, image in results.items():
            rows.setdefault(name, []).append((psnr_y(image, hr), ssim_y(image, hr)))
    network.train()
    names = [name.stem for name in pairs.names]
    table = {}
    for name, values in rows.items():
        psnr, ssim = (float(np.mean(column)) for column in zip(*values, strict=True))
        per_photo = {n: [round(v, 4) for v in pair] for n, pair in zip(names, values, strict=True)}
        table[name] = {"psnr_y": round(psnr, 4), "ssim": round(ssim, 5), "photos": per_photo}
    return table


def orthogonal(gradient: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly: five Newton-Schulz steps (Jordan et al., Muon, 2024)."""
    x = gradient / (gradient.norm() + 1e-7)
    for _ in range(5):
        product = x @ x.T
        x = 3.4445 * x + (-4.7750 * product + 2.0315 * product @ product) @ x
    return x


class Muon:
    """Momentum with orthogonalised updates for the body's convolutions: a third fewer steps than AdamW here."""

    def __init__(self, weights: list[nn.Parameter]) -> None:
        self.weights = weights
        self.momentum = [torch.zeros_like(weight) for weight in weights]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        for weight, momentum in zip(self.weights, self.momentum, strict=True):
            assert weight.grad is not None
            momentum.mul_(0.95).add_(weight.grad)
            ahead = (weight.grad + 0.95 * momentum).flatten(1).bfloat16()
            weight.add_(orthogonal(ahead).float().view_as(weight), alpha=-rate)


def write_state(out: Path, state: dict) -> None:
    torch.save(state, out / "state.tmp")
    os.replace(out / "state.tmp", out / "state.pt")


def write_checkpoint(out: Path, network: FilmResNet) -> None:
    """The documented format: `config.json` and `model.safetensors`."""
    config = {
        "format": "lqhq-indi",
        "network": "film_resnet",
        **CONFIG,
        "time_scale": 1.0,
        "scale": SCALE,
        "resize": "bicubic",
        "schedules": {"fast": {"steps": 1}},
    }
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    weights = {k: v.contiguous() for k, v in network.state_dict().items()}
    save_file(weights, out / "model.tmp")
    os.replace(out / "model.tmp", out / "model.safetensors")


def train(photos: Path, out: Path, minutes: float, resume: bool, seed: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    training, validation = Pairs(photos / "train", seed), Pairs(photos / "validation", seed)
    network = FilmResNet(**CONFIG).to(device, memory_format=torch.channels_last)
    torch.nn.init.zeros_(network.tail.weight)
    torch.nn.init.zeros_(network.tail.bias)
    average = FilmResNet(**CONFIG)
    average.load_state_dict(network.state_dict())
    muon = Muon([p for name, p in network.named_parameters() if name.startswith("body") and p.ndim == 4])
    matrices = {id(weight) for weight in muon.weights}
    rest = [p for p in network.parameters() if id(p) not in matrices]
    optimizer = torch.optim.AdamW(rest, lr=1e-3, weight_decay=0, betas=(0.9, 0.99))
    curve: list[dict] = []
    spent, step, side, count = 0.0, 0, 40, 12
    if resume:
        state = torch.load(out / "state.pt", weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        muon.momentum = state["momentum"]
        spent, step, curve = state["spent"], state["step"], state["curve"]
        training.draw.seed(seed + step)
    start, last_saved = time.monotonic() - spent, spent
    while (spent := time.monotonic() - start) < 60 * minutes:
        progress = spent / (60 * minutes)
        share = min(1, (step + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * progress))
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * share
        x0, y = (v.to(device) for v in training.batch(count, side))
        t = torch.where(torch.rand(count) < 0.75, torch.ones(count), torch.rand(count) * 0.99 + 0.01)
        t = t.to(device)
        x_t = x0 + t[:, None, None, None] * (y - x0)
        with torch.autocast(device, dtype=torch.bfloat16):
            x_t = x_t.contiguous(memory_format=torch.channels_last)
            error = network(x_t, t).float() - x0
        loss = torch.sqrt(error.square() + 1e-6).mean()
        network.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        muon.step(0.005 * share)
        step += 1
        decay = min(0.999, step / (step + 10))
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
                slow.lerp_(fast.cpu(), 1 - decay)
        if step % 50 == 0:
            print(f"{spent / 60:7.1f} min  step {step}  loss {loss.item():.5f}", flush=True)
        if spent - last_saved > 600:
            last_saved = spent
            table = validate(average, validation)["N=1"]
            row = {"minutes": round(spent / 60, 1), "step": step, "loss": round(loss.item(), 5)}
            curve.append(row | {k: table[k] for k in ("psnr_y", "ssim")})
            print("validation", json.dumps(curve[-1]), flush=True)
            state = {"network": network.state_dict(), "average": average.state_dict()}
            state |= {"optimizer": optimizer.state_dict(), "momentum": muon.momentum, "spent": spent, "step": step}
            write_state(out, state | {"curve": curve})
            write_checkpoint(out, average)
    write_checkpoint(out, average)
    table = validate(average, validation, LinearFilter(training))
    parameters = sum(weight.numel() for weight in network.parameters())
    report = {"steps": step, "patches": step * count, "side": side, "minutes": minutes}
    report |= {"device": device, "parameters": parameters}
    report |= {"curve": curve, "validation": table}
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({k: {m: v[m] for m in ("psnr_y", "ssim")} for k, v in table.items()}, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="folder written by demo_photos.py")
    parser.add_argument("out", type=Path, help="folder for weights, state and report")
    parser.add_argument("--minutes", type=float, default=180, help="length of the whole run")
    parser.add_argument("--resume", action="store_true", help="continue from OUT/state.pt")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    train(given.photos, given.out, given.minutes, given.resume, given.seed)
