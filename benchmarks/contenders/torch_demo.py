"""The demo network in PyTorch, with the weights of a bundle, and the whole restoration around it in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from lqhq.export.families.indi.film_resnet import FilmResNet
from lqhq.runtime.geometry import Box, Size
from lqhq.runtime.tiles import TilePlan
from lqhq.runtime.window import axis_weights

__all__ = ["Network", "network_from_graph", "restore_image"]

Network = Callable[[Tensor, Tensor], Tensor]


def network_from_graph(path: Path) -> nn.Module:
    """A FilmResNet with the initialisers of an exported graph; all sizes follow from their shapes.

    Exported names may carry the prefix of a wrapper (`network.head.weight`). Raises `RuntimeError` where a
    parameter is missing or of another shape.
    """
    found = {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}
    ends = {name: name.partition("head.weight")[0] for name in found if name.endswith("head.weight")}
    prefix = next(iter(ends.values()), "")
    weights = {
        name.removeprefix(prefix): torch.from_numpy(numpy_helper.to_array(tensor).copy())
        for name, tensor in found.items()
        if name.startswith(prefix) and name.endswith((".weight", ".bias"))
    }
    network = FilmResNet(
        width=len(weights["head.weight"]),
        blocks=len({name.split(".")[1] for name in weights if name.startswith("body.")}),
        time_width=len(weights["time.0.weight"]),
        fold=round((len(weights["tail.weight"]) / 3) ** 0.5),
    )
    network.load_state_dict(weights)
    return network.eval()


def _boxes(plan: TilePlan) -> Sequence[tuple[Box, Tensor]]:
    """Each tile with its blend weights `[h, w]`: lqhq's own, so that the same function is computed."""
    rows = axis_weights(plan.canvas.height, plan.tile.height, plan.overlap, plan.tops)
    columns = axis_weights(plan.canvas.width, plan.tile.width, plan.overlap, plan.lefts)
    across = len(plan.lefts)
    return [
        (plan.box(index), torch.from_numpy(np.outer(rows[index // across], columns[index % across])))
        for index in range(len(plan))
    ]


def restore_image(
    network: Network, image: NDArray[np.uint8], plan: TilePlan, layout: torch.memory_format, factor: int
) -> NDArray[np.uint8]:
    """One InDI step from t = 1, as a PyTorch user would write it: `[H, W, 3]` uint8 to `factor` times that."""
    x = torch.from_numpy(image).movedim(-1, 0)[None].float() / 127.5 - 1
    x = functional.interpolate(x, scale_factor=factor, mode="bicubic", antialias=True)
    x = x.contiguous(memory_format=layout)
    t = torch.ones(1)
    if len(plan) == 1:
        result = network(x, t)
    else:
        result = torch.zeros_like(x)
        for box, weights in _boxes(plan):
            tile = x[..., box.rows, box.columns].contiguous(memory_format=layout)
            result[..., box.rows, box.columns] += weights * network(tile, t)
    pixels = ((result[0].clamp(-1, 1) + 1) * 127.5).round().byte()
    return pixels.movedim(0, -1).contiguous().numpy()


def whole(canvas: Size) -> TilePlan:
    """The plan of one tile."""
    return TilePlan(canvas, canvas, 0, (0,), (0,))
