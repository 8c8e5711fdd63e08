"""Format `diffusers`: a UNet2DModel folder (or a pipeline's `unet/`), config.json and one weights file."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from lqhq.export.families.indi.network_config import check_channels, need, refuse_classes
from lqhq.export.families.indi.tile_hints import ATTENTION, NORM, network
from lqhq.export.family import Format, Network, Weights
from lqhq.export.state_dict import fill, rename
from lqhq.runtime.errors import CheckpointError

__all__ = ["DIFFUSERS", "PlainUNet", "attention_heads", "claims", "unet_of"]

CLASS = "UNet2DModel"
# What EMAModel.save_pretrained adds to config.json; it describes the averaging, not the network.
EMA_KEYS = frozenset(
    {"decay", "min_decay", "optimization_step", "update_after_step", "use_ema_warmup", "inv_gamma", "power"}
)
# What the weights cannot show; every version of diffusers has written them.
UNSEEN = (
    *("act_fn", "attention_head_dim", "center_input_sample", "downsample_padding"),
    *("flip_sin_to_cos", "freq_shift", "norm_eps", "norm_num_groups"),
)
OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
OLD_NAME = re.compile(r"(.*attentions\.\d+\.)(query|key|value|proj_attn)(\.(?:weight|bias))$")


class PlainUNet(nn.Module):
    """UNet2DModel as `module(state, t) -> pred`."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, state: Tensor, t: Tensor) -> Tensor:
        return self.unet(state, t, return_dict=False)[0]  # type: ignore[no-any-return]


def claims(weights: Weights) -> bool:
    """Whether the tensors are named as a UNet2DModel's."""
    kind = weights.config.get("_class_name")
    marks = {"conv_in.weight", "time_embedding.linear_1.weight", "conv_norm_out.weight"}
    text = any(".attn2." in name for name in weights.tensors)  # cross-attention: UNet2DConditionModel
    return kind == CLASS or (kind is None and marks <= set(weights.tensors) and not text)


def load(weights: Weights, config: Mapping[str, Any]) -> Network:
    where, notes = weights.where, list[str]()
    if config.get("time_embedding_type", "positional") == "learned":
        raise CheckpointError(
            f"{where}: time_embedding_type",
            found="'learned', a table of whole timesteps",
            expected="an embedding of continuous t",
            mend="This network cannot be fed InDI's t.",
        )
    unet = unet_of(weights, config, notes, check_channels)
    heads = attention_heads(unet)
    return network(
        PlainUNet(unet).eval(),
        multiple=2 ** (len(unet.down_blocks) - 1),
        deviations=(NORM, ATTENTION) if heads else (NORM,),
        heads=heads,
        notes=notes,
    )


def unet_of(
    weights: Weights, config: Mapping[str, Any], notes: list[str], check: Callable[[str, int, int], None]
) -> Any:
    """The UNet2DModel of `weights`, strictly filled; `check(where, inputs, outputs)` judges its channels.

    Raises `CheckpointError` for a config that does not fit, and for a network that wants a class.
    """
    from diffusers import UNet2DModel  # takes seconds, and only this format needs it

    where = weights.where
    known = frozenset(inspect.signature(UNet2DModel.__init__).parameters) - {"self"}
    settings = _settings(where, config, known, notes)
    inputs, outputs = settings.get("in_channels", 3), settings.get("out_channels", 3)
    if not (isinstance(inputs, int) and isinstance(outputs, int)):
        raise _bad_config(where, f"in_channels {inputs!r}, out_channels {outputs!r}")
    check(where, inputs, outputs)
    refuse_classes(where, any(settings.get(key) is not None for key in ("class_embed_type", "num_class_embeds")))
    try:
        unet = UNet2DModel.from_config(settings)
    except (TypeError, ValueError, RuntimeError, LookupError, ZeroDivisionError, NotImplementedError) as error:
        raise _bad_config(where, str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    fill(where, unet, rename(where, weights.tensors, _new_name, notes))
    return unet


def _settings(where: str, config: Mapping[str, Any], known: frozenset[str], notes: list[str]) -> dict[str, Any]:
    """The constructor's arguments out of config.json; every other key must be a known extra."""
    kind = config.get("_class_name", CLASS)
    if kind != CLASS:
        raise CheckpointError(
            f"{where}: _class_name",
            found=str(kind),
            expected=CLASS,
            mend="Only unconditional 2-D U-Nets are InDI's F.",
        )
    unknown = [key for key in config if key not in known | EMA_KEYS and not key.startswith("_")]
    if unknown:
        raise _bad_config(where, f"unknown keys {', '.join(unknown[:8])}")
    for key in UNSEEN:
        # attention_head_dim may be null: one head over all channels.
        need(key, True if key in config else None, "diffusers")
    if extra := sorted(EMA_KEYS & config.keys()):
        notes.append(f"ignored the EMA's own keys {', '.join(extra)}")
    return {key: value for key, value in config.items() if key in known}


def attention_heads(unet: nn.Module) -> dict[int, int]:
    """Heads by level: down block i works at level i, up block i at the mirrored one, the middle at the deepest."""
    deepest = len(unet.down_blocks) - 1  # type: ignore[arg-type]
    heads: dict[int, int] = {}
    for name, module in unet.named_modules():
        if hasattr(module, "to_q") and hasattr(module, "heads"):
            kind, _, rest = name.partition(".")
            index = int(rest.split(".")[0]) if kind in ("down_blocks", "up_blocks") else deepest
            level = deepest - index if kind == "up_blocks" else index
            heads[level] = max(heads.get(level, 0), int(module.heads))
    return heads


def _new_name(name: str) -> str:
    """Attention layers had other names before diffusers 0.18."""
    old = OLD_NAME.match(name)
    return f"{old[1]}{OLD_ATTENTION[old[2]]}{old[3]}" if old else name


def _bad_config(where: str, found: str) -> CheckpointError:
    return CheckpointError(
        f"{where}: config.json",
        found=found,
        expected=f"the config of a {CLASS}",
        mend="Use config.json as diffusers wrote it beside the weights.",
    )


DIFFUSERS = Format(name="diffusers", about="diffusers UNet2DModel folder", claims=claims, load=load)
