"""One sub-folder of a base model: its config, its weights under today's names, and the network that they fill."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from lqhq.export.checkpoint import open_checkpoint
from lqhq.export.config_file import read_json_object
from lqhq.export.families.osediff.base_config import NEED_BASE
from lqhq.export.foreign_text import printable
from lqhq.export.state_dict import rename, require_match
from lqhq.runtime.errors import CheckpointError
from lqhq.runtime.manifest import SourceFile

__all__ = ["Part", "built", "current_names", "filled", "read_part", "source_file"]

# Full precision first; safetensors before pickles. What else lies there (EMA, ONNX, Flax) is not asked for.
STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
ENDINGS = (".safetensors", ".bin", ".fp16.safetensors", ".fp16.bin")
OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
OLD_NAME = re.compile(r"(.*\.attentions\.\d+\.)(query|key|value|proj_attn)(\.(?:weight|bias))$")
BUILD_ERRORS = (TypeError, ValueError, RuntimeError, LookupError, ZeroDivisionError, NotImplementedError)


MAX_SMALL = 8 << 20  # bytes of a config, or of a tokenizer's file


@dataclass(slots=True)
class Part:
    """What a sub-folder holds. `tensors` is emptied by `filled`: gigabytes must not be held twice."""

    where: str
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    sources: tuple[SourceFile, ...]


def read_part(base: Path, name: str, notes: list[str]) -> Part:
    """`base/name`: config.json and one weights file. Raises `CheckpointError`."""
    folder = base / name
    if not folder.is_dir():
        raise CheckpointError(
            str(base),
            found=f"no sub-folder {name}/" if base.is_dir() else "no folder",
            expected="unet/, vae/, text_encoder/, tokenizer/ and scheduler/",
            mend=NEED_BASE,
        )
    config = folder / "config.json"
    if not config.is_file():
        raise CheckpointError(str(folder), found="no config.json", expected="config.json", mend=NEED_BASE)
    candidates = [folder / f"{stem}{ending}" for ending in ENDINGS for stem in STEMS]
    present = [file for file in candidates if file.is_file()]
    if not present:
        shards = any(file.name.endswith(".index.json") for file in folder.iterdir())
        raise CheckpointError(
            str(folder),
            found="weights in several files" if shards else "no weights file",
            expected=f"one of {', '.join(sorted({file.name for file in candidates}))}",
            mend="Save the model again with a max_shard_size above its size." if shards else NEED_BASE,
        )
    if len(present) > 1:
        notes.append(f"{name}: took {present[0].name}; left {', '.join(file.name for file in present[1:])}")
    checkpoint = open_checkpoint(present[0])
    notes.extend(f"{name}: {note}" for note in checkpoint.notes)
    weights = msgspec.structs.replace(checkpoint.sources[0], name=f"{name}/{present[0].name}")
    return Part(
        where=str(folder),
        config=read_json_object(config),
        tensors=dict(checkpoint.tensors),
        sources=(source_file(config, f"{name}/config.json"), weights),
    )


def source_file(file: Path, name: str) -> SourceFile:
    """Digest and size of a small file that was read. Raises `CheckpointError` where it cannot be read."""
    try:
        if not file.is_file() or file.stat().st_size > MAX_SMALL:  # reading a pipe or a device may never end
            raise CheckpointError(
                str(file),
                found=f"{file.stat().st_size} bytes" if file.is_file() else "no regular file",
                expected=f"a file of at most {MAX_SMALL} bytes",
                mend=NEED_BASE,
            )
        data = file.read_bytes()
    except OSError as error:
        raise CheckpointError(
            str(file), found=error.strerror or str(error), expected="a file that can be read", mend=NEED_BASE
        ) from error
    return SourceFile(name=name, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def current_names(where: str, tensors: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """Attention layers of the VAE had other names before diffusers 0.18, and were 1x1 convolutions still before."""

    def change(name: str) -> str:
        found = OLD_NAME.match(name)
        return f"{found[1]}{OLD_ATTENTION[found[2]]}{found[3]}" if found else name

    def flat(name: str, tensor: Tensor) -> Tensor:
        attention = ".attentions." in name and any(f".{new}." in name for new in OLD_ATTENTION.values())
        return tensor.flatten(1) if attention and tensor.shape[2:] == (1, 1) else tensor

    renamed = rename(where, tensors, change, notes)
    return {name: flat(name, tensor) for name, tensor in renamed.items()}


def built(where: str, make: Callable[[], nn.Module]) -> nn.Module:
    """`make()` without memory for its weights. Raises `CheckpointError` where a config makes no network."""
    try:
        with torch.device("meta"):
            return make()
    except BUILD_ERRORS as error:
        raise CheckpointError(
            where,
            found=printable(str(error).splitlines()[0]) if str(error) else type(error).__name__,
            expected="sizes that fit each other",
            mend="Take config.json from where the weights come from.",
        ) from error


def filled(where: str, network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Move `tensors` into a network that was `built`, as float32 (exact for half precision), in eval mode.

    Names and shapes must match exactly. `tensors` is empty afterwards, and nothing hangs on the file any more.
    Raises `CheckpointError` as `require_match` does.
    """
    mend = f"Take config.json and weights from one model. {NEED_BASE}"
    require_match(where, network, tensors, told="that config.json tells of", mend=mend)
    # Copies: a view of the file would keep all of it in memory. One by one, so that what was read goes as they come.
    network.load_state_dict(
        {name: tensors.pop(name).to(torch.float32, copy=True) for name in network.state_dict()}, assign=True
    )
    network.eval().requires_grad_(False)
