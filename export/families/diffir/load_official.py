"""Format `official`: a stage-2 state dict of the official code, from BasicSR, Lightning or safetensors.

The network is read from the tensors alone; there is nothing to configure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor

from lqhq.export.families.diffir.lookalikes import is_relative, refusal
from lqhq.export.families.diffir.network import DiffIR
from lqhq.export.families.diffir.shapes import Described, describe
from lqhq.export.families.diffir.stored_schedule import BUFFERS
from lqhq.export.family import Weights
from lqhq.export.foreign_text import printable
from lqhq.export.state_dict import fill, rename, select_prefix
from lqhq.runtime.errors import CheckpointError

__all__ = ["NESTED_KEYS", "claims", "load"]

NESTED_KEYS = ("params_ema", "params", "state_dict")  # of BasicSR, the averaged weights first; of Lightning
WRAPPERS = ("module", "_orig_mod")  # DataParallel and torch.compile; no part of DiffIR is called so
ANCHOR = "G.patch_embed.proj.weight"
DENOISERS = ("denoise.resmlp.0.weight", "diffusion.model.resmlp.0.weight")
# The official `diffusion` registers two modules once more, so their tensors are stored twice.
COPIES = {"diffusion.model.": "denoise.", "diffusion.condition.": "condition."}


def claims(weights: Weights) -> bool:
    """Stage 2 under any prefix, and the relatives that `load` refuses by name."""
    return is_relative(weights.tensors)


def load(where: str, tensors: Mapping[str, Tensor], notes: list[str]) -> DiffIR:
    """The network, fp32 and in eval mode, with its stored schedule. What was set aside is written into `notes`.

    Raises `CheckpointError` for look-alikes, for parts that contradict each other, and for names missing or left over.
    """
    network = _unprefixed(where, rename(where, tensors, _unwrapped, notes), notes)
    network = _without_copies(where, network, notes)
    described = describe(where, network)
    buffers = {f"diffusion.{name}" for name in BUFFERS}
    weights = {name: tensor for name, tensor in network.items() if name not in buffers}
    return _filled(where, described, weights, notes)


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _unprefixed(where: str, tensors: Mapping[str, Tensor], notes: list[str]) -> Mapping[str, Tensor]:
    """The tensors of the one stage-2 network. Lightning keeps it under `generator.`, beside others."""
    starts = [name.removesuffix(ANCHOR) for name in tensors if name.endswith(ANCHOR)]
    prefixes = [start for start in starts if any(start + name in tensors for name in DENOISERS)]
    if not prefixes:
        raise refusal(where, tensors)
    if len(prefixes) > 1:
        raise CheckpointError(
            where,
            found=f"{len(prefixes)} networks, under {' and '.join(repr(printable(prefix)) for prefix in prefixes[:4])}",
            expected="one",
            mend='Choose one with "key_prefix" in --config.',
        )
    return select_prefix(where, tensors, prefixes[0], notes) if prefixes[0] else tensors


def _without_copies(where: str, tensors: Mapping[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """One of each: copies must be equal bit for bit; a copy whose original is absent takes its place."""
    result = {name: tensor for name, tensor in tensors.items() if not name.startswith(tuple(COPIES))}
    dropped = 0
    for name, tensor in tensors.items():
        prefix = next((prefix for prefix in COPIES if name.startswith(prefix)), None)
        if prefix is None:
            continue
        original = COPIES[prefix] + name.removeprefix(prefix)
        if not _same(result.setdefault(original, tensor), tensor):
            raise CheckpointError(
                where,
                found=f"{printable(original)} and its copy {printable(name)} with other numbers",
                expected="copies that are equal bit for bit",
                mend="The official code would use the copy under diffusion.; the file cannot tell which one was meant. "
                "Save the state dict again from the network that you mean.",
            )
        dropped += original in tensors
    if dropped:
        notes.append(f"dropped {dropped} copies under 'diffusion.', equal bit for bit")
    return result


def _same(one: Tensor, other: Tensor) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return one is other or torch.equal(*(t.contiguous().flatten().view(torch.uint8) for t in (one, other)))


def _filled(where: str, described: Described, weights: Mapping[str, Tensor], notes: list[str]) -> DiffIR:
    """Names and sizes are compared before memory is taken: a small file could describe a large network."""
    with torch.device("meta"):
        network = described.build()
    own = {name: tensor.shape for name, tensor in network.state_dict().items()}
    if own == {name: tensor.shape for name, tensor in weights.items()}:
        network = network.to_empty(device="cpu")
    # On the meta device it cannot but refuse.
    fill(where, network, weights, mend="The file is incomplete, or of a changed network: get the released one again.")
    if others := Counter(str(tensor.dtype) for tensor in weights.values() if tensor.dtype != torch.float32):
        notes.append(f"as float32: {', '.join(f'{count} tensors of {dtype}' for dtype, count in others.items())}")
    return network
