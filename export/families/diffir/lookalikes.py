"""What looks like a stage-2 DiffIR and is not: told apart by names, and refused with what to give instead."""

from __future__ import annotations

from collections.abc import Iterable

from lqhq.export.state_dict import shown
from lqhq.runtime.errors import CheckpointError

__all__ = ["is_relative", "refusal"]

EXPECTED = "the stage-2 network of DiffIR: G, condition and denoise"
BLOCK = "encoder_level1.0.attn.qkv.weight"  # of Restormer and of everything made from it
GUIDED = "attn.kernel.0.weight"  # DiffIR's own: the prior enters every block there
STAGE_1 = "E.E.0.weight"
DISCRIMINATORS = ("conv1.weight_orig", "conv0_0.weight", "model0.0.weight")
PARTS = {"G": GUIDED, "condition": "condition.E.0.weight", "denoise": "denoise.resmlp.0.weight"}


def is_relative(names: Iterable[str]) -> bool:
    """Whether there is anything that `refusal` or the loader has a word for."""
    return any(_ends(name, (BLOCK, GUIDED, STAGE_1, *DISCRIMINATORS, *PARTS.values())) for name in names)


def refusal(where: str, names: Iterable[str]) -> CheckpointError:
    """The error for names without a whole stage 2 among them."""
    names = list(names)
    found, mend = _kind(names)
    return CheckpointError(where, found=found, expected=EXPECTED, mend=mend)


def _kind(names: list[str]) -> tuple[str, str]:
    """What it is, and what to give instead."""

    def any_ends(*ends: str) -> bool:
        return any(_ends(name, ends) for name in names)

    if any_ends(STAGE_1) and not any_ends(PARTS["denoise"]):
        return (
            "DiffIR's stage 1 (E.E.0.weight, no denoise)",
            "Stage 1 needs the ground truth as an input and cannot restore. Give the stage-2 file, named ...S2.",
        )
    if any_ends(BLOCK) and not any_ends(GUIDED):
        return (
            "a Restormer, or a network made from it (attn.qkv without attn.kernel)",
            "Restormer has no prior and is not supported. Give a DiffIR stage-2 file.",
        )
    if parts := [part for part, end in PARTS.items() if any_ends(end)]:
        missing = " and ".join(part for part in PARTS if part not in parts) or "names that belong together"
        return (
            f"{' and '.join(parts)} of DiffIR without {missing}: {shown(names)}",
            "Save the whole state dict of the stage-2 network; relatives (DiffRIR, MoE-DiffIR, DiffI2I) are others.",
        )
    if any_ends(*DISCRIMINATORS):
        return (
            f"a discriminator ({shown(names)})",
            "It only serves training. Give the generator: net_g_*.pth, not net_d_*.pth.",
        )
    return f"no part of DiffIR: {shown(names)}", "Give a DiffIR stage-2 file, or choose another family."


def _ends(name: str, ends: Iterable[str]) -> bool:
    return any(name == end or name.endswith(f".{end}") for end in ends)
