"""The posterior: its limits, its noise, and that half precision does not round the state."""

from __future__ import annotations

import math

import torch

from lqhq.export.families.osediff.vae import Posterior


def test_limits_and_noise():
    moments = torch.zeros(1, 8, 1, 3)
    moments[:, :4] = 0.25
    moments[0, 4:, 0] = torch.tensor([-100.0, 0.0, 100.0])
    noise = torch.full((1, 4, 1, 3), 2.0)
    found = Posterior(0.5)(moments, noise)[0, 0, 0]
    wanted = [(0.25 + math.exp(limit / 2) * 2) * 0.5 for limit in (-30, 0, 20)]
    assert torch.allclose(found, torch.tensor(wanted), rtol=1e-6)
    assert (Posterior(0.5)(moments, 0 * noise) == 0.125).all()


def test_half_moments_give_a_float32_state():
    draw = torch.Generator().manual_seed(3)
    moments, noise = torch.randn(1, 8, 2, 3, generator=draw).half(), torch.randn(1, 4, 2, 3, generator=draw)
    found = Posterior(0.18215)(moments, noise)
    assert found.dtype == torch.float32
    assert torch.equal(found, Posterior(0.18215)(moments.float(), noise))
