"""Three channels go in; three come out, or six where the variance is learned."""

from __future__ import annotations

from lqhq.runtime.errors import CheckpointError

__all__ = ["CHANNELS", "check_channels"]

CHANNELS = 3


def check_channels(where: str, inputs: int, outputs: int) -> None:
    """Raise `CheckpointError` for other numbers of channels."""
    if inputs == CHANNELS and outputs in (CHANNELS, 2 * CHANNELS):
        return
    raise CheckpointError(
        where,
        found=f"{inputs} channels in and {outputs} out",
        expected="3 in, and 3 or 6 out",
        mend="Only unconditional models of RGB images make low-quality partners.",
    )
