"""Format `lucidrains`: model-N.pt of denoising-diffusion-pytorch 2.3, the process in its buffers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta
from torch import Tensor

from lqhq.export.families.indi.network_config import NetworkConfig, need, typed
from lqhq.export.families.indi.tile_hints import ATTENTION
from lqhq.export.families.lq_ddpm.attention import shared_copy
from lqhq.export.families.lq_ddpm.channels import check_channels
from lqhq.export.families.lq_ddpm.lucidrains_unet import LucidShape, LucidUNet
from lqhq.export.families.lq_ddpm.process import Loaded, Process
from lqhq.export.families.lq_ddpm.tiles import network
from lqhq.export.family import Format, Network, Weights
from lqhq.export.state_dict import fill, rows, select_prefix
from lqhq.runtime.errors import CheckpointError
from lqhq.runtime.samplers.diffusion import NoiseProcess
from lqhq.runtime.samplers.prediction import Prediction

__all__ = ["LUCIDRAINS"]

MARK = "init_conv.weight"
# Where the Unet lies: in the average of ema_pytorch, in the process, or by itself.
PREFIXES = ("ema_model.model.", "model.", "")
OBJECTIVES: Mapping[str, Prediction] = {"pred_v": "v_prediction", "pred_noise": "epsilon", "pred_x0": "sample"}
NOTES = {
    "ema_model.model.": "took the averaged weights (EMA); --weights model takes those of the last step",
    "model.": "took the weights of the last step, not averaged",
}


class LucidConfig(NetworkConfig, frozen=True, kw_only=True):
    """What the file does not tell: the objective. Heads have 32 channels each unless said."""

    objective: Literal["pred_v", "pred_noise", "pred_x0"] | None = None
    attn_dim_head: Annotated[int, Meta(ge=1, le=1 << 12)] = 32


def claims(weights: Weights) -> bool:
    return _prefix(weights.tensors) is not None


def _prefix(tensors: Mapping[str, Tensor]) -> str | None:
    marks = (MARK, "mid_block1.block1.norm.g", "final_conv.weight")
    return next((prefix for prefix in PREFIXES if all(f"{prefix}{mark}" in tensors for mark in marks)), None)


def load(weights: Weights, config: Mapping[str, Any]) -> Network:
    where, notes = weights.where, list[str]()
    told = typed(LucidConfig, config, "lucidrains")
    need("objective", told.objective, "lucidrains")
    prefix = _prefix(weights.tensors)
    if prefix is None:
        raise _unlike(where)
    if prefix in NOTES:
        notes.append(NOTES[prefix])
    tensors = select_prefix(where, weights.tensors, prefix, notes) if prefix else dict(weights.tensors)
    process = _process(where, weights.tensors, prefix.removesuffix("model."), OBJECTIVES[told.objective or "pred_v"])
    shape = _shape(where, tensors, told.attn_dim_head)
    check_channels(where, shape.channels, shape.outputs)
    unet = LucidUNet(shape)
    fill(where, unet, tensors)
    return network(
        Loaded(unet, shared_copy(unet), process, shape.outputs),
        multiple=2 ** (len(shape.widths) - 1),
        deviations=(ATTENTION,),
        notes=notes,
    )


def _shape(where: str, tensors: Mapping[str, Tensor], head_width: int) -> LucidShape:
    levels = 1 + max((int(name.split(".")[1]) for name in tensors if _is_level(name)), default=-1)
    if not levels:
        raise _unlike(where)
    last = levels - 1
    ends = [f"downs.{level}.3.{'' if level == last else '1.'}weight" for level in range(levels)]
    inner = rows(where, tensors, "mid_attn.to_qkv.weight") // 3
    heads = rows(where, tensors, "mid_attn.mem_kv", 1)
    if inner != heads * head_width:
        raise CheckpointError(
            f"{where}: attn_dim_head",
            found=f"{inner} channels in {heads} heads",
            expected=f"{head_width} channels a head",
            mend='Put "attn_dim_head" into --config, as in the training code.',
        )
    return LucidShape(
        channels=rows(where, tensors, MARK, 1),
        outputs=rows(where, tensors, "final_conv.weight"),
        width=rows(where, tensors, MARK),
        widths=tuple(rows(where, tensors, name) for name in ends),
        times=(rows(where, tensors, "time_mlp.1.weight", 1), rows(where, tensors, "time_mlp.1.weight")),
        full=tuple(f"downs.{level}.2.to_out.weight" in tensors for level in range(levels)),
        heads=heads,
        head_width=head_width,
        memories=rows(where, tensors, "mid_attn.mem_kv", 2),
    )


def _is_level(name: str) -> bool:
    parts = name.split(".")
    return parts[0] == "downs" and len(parts) > 2 and parts[1].isdecimal() and len(parts[1]) < 4


def _process(where: str, tensors: Mapping[str, Tensor], prefix: str, prediction: Prediction) -> Process:
    """The process is in the file: float32 tables of a float64 one."""
    betas, abar = (tensors.get(f"{prefix}{name}") for name in ("betas", "alphas_cumprod"))
    if betas is None or abar is None:
        raise CheckpointError(
            where,
            found="a Unet without the process around it",
            expected=f"{prefix}betas and {prefix}alphas_cumprod beside it",
            mend="Give model-N.pt as the trainer saved it.",
        )
    return Process(
        library="lucidrains",
        levels=NoiseProcess(
            betas=betas.numpy().astype(np.float64),
            alphas_cumprod=abar.numpy().astype(np.float64),
            timesteps=np.arange(len(betas), dtype=np.int64),
        ),
        prediction=prediction,
        variance="fixed_small",
        clip=1.0,
        sampler="ddim",
    )


def _unlike(where: str) -> CheckpointError:
    return CheckpointError(
        where,
        found="no Unet of its version 2",
        expected="names such as init_conv, downs.0.0, mid_attn, with RMS norms",
        mend="Older versions have other layers; their checkpoints are not read.",
    )


LUCIDRAINS = Format(name="lucidrains", about="denoising-diffusion-pytorch's model-N.pt", claims=claims, load=load)
