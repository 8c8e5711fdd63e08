"""OSEDiff's roles. All of them count in latent pixels: an image's sides are `factor` times the axes H and W."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lqhq.export.families.osediff.network import OseDiff
from lqhq.export.families.osediff.oracle import PlainDecode, PlainDenoise, PlainEncode
from lqhq.export.families.osediff.unet import BakedUnet, DeployedUnet, score_bytes
from lqhq.export.families.osediff.vae import Decode, Encode
from lqhq.export.family import RoleGraph
from lqhq.runtime import manifest as m

__all__ = ["graphs"]

# Both networks halve three times: at the deepest level no side of the traced one may be 1, nor the same as another.
TRACED = (16, 24)
LEAST = 2  # latents of a compared side: at one, a group norm of one channel has a single value, which PyTorch refuses
PROBED = (16, 32)  # latent sides that memory is measured at: images of 128 and 256 pixels
# Words of an example prompt: a beginning, some, an end, and padding up to the length.
WORDS = (2, 30)
ISLANDS = (nn.GroupNorm, nn.LayerNorm)  # sums over many values; the one step is float32 by itself
Examples = Callable[[np.random.Generator, int, int, int], dict[str, NDArray[Any]]]


def graphs(model: OseDiff, prompt: Tensor | None = None) -> tuple[RoleGraph, ...]:
    """`encode`, `denoise`, `decode` and `text`; without `text`, and with no `cond`, for a baked prompt.

    `prompt` is the embedding `[1, S, D]` to bake in. All weights are shared with `model`.
    """
    both = (_encode(model), _denoise(model, prompt), _decode(model))
    return both if prompt is not None else (*both, _text(model))


def _latent(model: OseDiff) -> m.Tensor:
    return m.Tensor(dtype="float32", shape=("N", model.channels, "H", "W"))


def _image(model: OseDiff) -> m.Tensor:
    return m.Tensor(dtype="float32", shape=("N", 3, f"{model.factor}H", f"{model.factor}W"))


def _cond(model: OseDiff) -> m.Tensor:
    return m.Tensor(dtype="float32", shape=("N", model.text.shape.length, model.width), per="image")


def _attention(model: OseDiff) -> float:
    """Bytes per square of latent pixels: the VAE's middle block attends with one head."""
    return score_bytes(1)


def _encode(model: OseDiff) -> RoleGraph:
    return RoleGraph(
        role="encode",
        module=Encode(model.vae, model.scaling).eval(),
        plain=PlainEncode(model).eval(),
        inputs={"lq": _image(model), "noise": _latent(model)},
        outputs={"state": _latent(model)},
        examples=_images(model),
        traced=TRACED,
        smallest=LEAST,
        probed=PROBED,
        islands=ISLANDS,
        per_pair=_attention(model),
    )


def _denoise(model: OseDiff, prompt: Tensor | None) -> RoleGraph:
    module = (
        DeployedUnet(model.unet, model.constants) if prompt is None else BakedUnet(model.unet, model.constants, prompt)
    )
    return RoleGraph(
        role="denoise",
        module=module,
        plain=PlainDenoise(model, prompt).eval(),
        inputs={"state": _latent(model)} | ({"cond": _cond(model)} if prompt is None else {}),
        outputs={"pred": _latent(model)},
        examples=_states(model, prompted=prompt is None),
        traced=TRACED,
        smallest=LEAST,
        probed=PROBED,
        islands=ISLANDS,
        pred="x0",
        per_pair=score_bytes(model.heads),
    )


def _decode(model: OseDiff) -> RoleGraph:
    return RoleGraph(
        role="decode",
        module=Decode(model.vae, model.scaling).eval(),
        plain=PlainDecode(model).eval(),
        inputs={"state": _latent(model)},
        outputs={"hq": _image(model)},
        examples=_states(model, prompted=False),
        traced=TRACED,
        smallest=LEAST,
        probed=PROBED,
        islands=ISLANDS,
        per_pair=_attention(model),
    )


def _text(model: OseDiff) -> RoleGraph:
    length = model.text.shape.length
    return RoleGraph(
        role="text",
        module=model.text,
        plain=model.text,
        inputs={"ids": m.Tensor(dtype="int64", shape=("N", length), per="image")},
        outputs={"cond": _cond(model)},
        examples=lambda draw, n, height, width: {"ids": _ids(draw, n, model)},
        islands=ISLANDS,
    )


def _ids(draw: np.random.Generator, n: int, model: OseDiff) -> NDArray[np.int64]:
    """Prompts as CLIP's tokenizer makes them: the last two ids of the vocabulary begin and end them, 0 fills up."""
    shape = model.text.shape
    ids = np.zeros((n, shape.length), np.int64)
    for row in ids:
        words = int(draw.integers(*WORDS))
        row[0], row[words + 1] = shape.vocabulary - 2, shape.vocabulary - 1
        row[1 : words + 1] = draw.integers(1, shape.vocabulary - 2, words)
    return ids


def _images(model: OseDiff) -> Examples:
    def examples(draw: np.random.Generator, n: int, height: int, width: int) -> dict[str, NDArray[Any]]:
        sides = (model.factor * height, model.factor * width)
        return {
            "lq": draw.uniform(-1, 1, (n, 3, *sides)).astype(np.float32),
            "noise": draw.standard_normal((n, model.channels, height, width), dtype=np.float32),
        }

    return examples


def _states(model: OseDiff, *, prompted: bool) -> Examples:
    """Latents, which are about N(0, 1), and the embeddings of prompts."""

    def examples(draw: np.random.Generator, n: int, height: int, width: int) -> dict[str, NDArray[Any]]:
        feed = {"state": draw.standard_normal((n, model.channels, height, width), dtype=np.float32)}
        if prompted:
            feed["cond"] = model.embed(torch.from_numpy(_ids(draw, n, model))).numpy()
        return feed

    return examples
