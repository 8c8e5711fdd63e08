"""The prior's schedule as a checkpoint stores it: buffers of one value per step, checked against each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lqhq.export.families.diffir.prior import PriorSchedule
from lqhq.export.state_dict import rows
from lqhq.runtime.errors import CheckpointError

__all__ = ["BUFFERS", "MAX_STEPS", "coefficients", "stored_schedule"]

MAX_STEPS = 1000  # the loop is unrolled in the exported graph; released networks have 4
BETAS, C1, C2 = "betas", "posterior_mean_coef1", "posterior_mean_coef2"
BUFFERS = frozenset(
    [
        *(BETAS, C1, C2, "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod"),
        *("sqrt_one_minus_alphas_cumprod", "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod"),
        *("sqrt_recipm1_alphas_cumprod", "posterior_variance", "posterior_log_variance_clipped"),
    ]
)
TOLERANCE = 1e-5  # of values up to 1 that were computed in float64 and stored as float32, as the betas were


def coefficients(betas: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """c1 and c2 `[T]` of q(z_{t-1} | z_t, z_0): Ho et al., arXiv 2006.11239, equation 7."""
    alphas = 1.0 - betas
    cumulative = np.cumprod(alphas)
    previous = np.concatenate([[1.0], cumulative[:-1]])
    return (
        betas * np.sqrt(previous) / (1.0 - cumulative),
        (1.0 - previous) * np.sqrt(alphas) / (1.0 - cumulative),
    )


def stored_schedule(where: str, tensors: Mapping[str, Tensor]) -> PriorSchedule:
    """The stored c1 and c2, which the official code lets win over its options. Raises `CheckpointError`.

    The number of steps T is the buffers' length. They must be what the stored betas give.
    """
    steps = rows(where, tensors, f"diffusion.{C1}")
    for name in sorted(BUFFERS):
        buffer = tensors.get(f"diffusion.{name}")
        if buffer is None and name in (BETAS, C1, C2):
            rows(where, tensors, f"diffusion.{name}")  # raises: it is missing
        if buffer is not None and (not buffer.is_floating_point() or buffer.shape != (steps,) or steps > MAX_STEPS):
            raise _fault(
                f"{where}: diffusion.{name}",
                f"{list(buffer.shape)} {buffer.dtype}",
                f"floats [T], T from 1 to {MAX_STEPS}, {steps} by {C1}",
            )
    stored = {name: tensors[f"diffusion.{name}"] for name in (BETAS, C1, C2)}
    betas, c1, c2 = (tensor.double().numpy() for tensor in stored.values())
    # `not all` refuses NaN too.
    if not steps or not np.all((betas > 0) & (betas <= 1)):
        raise _fault(f"{where}: diffusion.{BETAS}", f"values {_shown(betas)}", "at least one value, each in (0, 1]")
    with np.errstate(divide="ignore", invalid="ignore"):  # betas so small that nothing is left give NaN: refused
        expected = coefficients(betas)
    for name, found, wanted in zip((C1, C2), (c1, c2), expected, strict=True):
        if not np.allclose(found, wanted, rtol=TOLERANCE, atol=_tolerance(stored.values())):
            raise _fault(f"{where}: diffusion.{name}", _shown(found), f"{_shown(wanted)}, as its betas give")
    return PriorSchedule(tuple(c1.tolist()), tuple(c2.tolist()))


def _tolerance(stored: Iterable[Tensor]) -> float:
    """Half precision rounds betas near 1 so that what is left of 1 changes much."""
    coarsest = max(torch.finfo(tensor.dtype).eps for tensor in stored)
    return TOLERANCE if coarsest <= torch.finfo(torch.float32).eps else 4 * coarsest


def _shown(values: NDArray[np.float64]) -> str:
    text = ", ".join(f"{value:.6g}" for value in values[:4])
    return f"{text} ..." if len(values) > 4 else text or "none"


def _fault(where: str, found: str, expected: str) -> CheckpointError:
    return CheckpointError(
        where,
        found=found,
        expected=expected,
        mend="The checkpoint was edited or damaged; get it again from its source.",
    )
