"""InDI's formula in torch, against the stored trajectories of the golden set, and against our rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lqhq.export.families.indi.sampler import sample, schedule
from lqhq.export.settings import Sampling

CASES = [
    ("f_guided", "none_N5", Sampling(steps=5, noise="none")),
    ("f_guided", "brownian_N20_eps0.01", Sampling(steps=20, noise="brownian", eps=0.01)),
    ("f_sr3", "const_N5_eps0.01", Sampling(steps=5, noise="const", eps=0.01, clip=1.0)),
    ("f_sr3", "brownian_N20_eps0.01", Sampling(steps=20, noise="brownian", eps=0.01, clip=1.0)),
    ("f_sr3", "renoise_N5_eps0.01", Sampling(steps=5, noise="renoise", eps=0.01)),
    ("f_diffusers", "brownian_N5_eps0.01", Sampling(steps=5, noise="brownian", eps=0.01)),
]


@pytest.mark.parametrize(("name", "trajectory", "sampling"), CASES)
def test_whole_trajectories_through_the_network(golden_model, goldens, name, trajectory, sampling):
    data = np.load(goldens[name].path.parent / f"{name}.traj_{trajectory}.npz")
    network = golden_model(name).recipe.graphs[0].plain
    noise = {"start": data["noise_init"]} if "noise_init" in data else {}
    noise |= {"step": data["noise_step"]} if "noise_step" in data else {}
    if "noise_step" in data:
        noise["step"] = data["noise_step"][:, 0]  # stored with a batch of one
        noise["start"] = data["noise_init"][0]

    with torch.no_grad():
        found = sample(network, torch.from_numpy(data["y"]), sampling, noise)
    assert np.abs(found.numpy() - data["final"]).max() < 1e-4


@pytest.mark.parametrize("sampling", [case[2] for case in CASES] + [Sampling(grid=(1.0, 0.6, 0.1, 0.0), noise="none")])
def test_the_rows_and_the_formula_agree(sampling):
    """Seed 2; the rows of the bundle, executed as their docstring says, against the oracle."""
    draw = np.random.default_rng(2)
    table = schedule(sampling)
    y = draw.uniform(-1, 1, (1, 3, 4, 6)).astype(np.float32)
    noise = {"start": draw.normal(size=(3, 4, 6)), "step": draw.normal(size=(len(table.rows), 3, 4, 6))}
    noise = {name: array.astype(np.float32) for name, array in noise.items()}

    def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.tanh(3 * x) * (0.5 + t[:, None, None, None])

    wanted = sample(network, torch.from_numpy(y), sampling, noise).numpy()
    state = table.start.c_img * y + table.start.c_noise * noise["start"]
    for index, row in enumerate(table.rows):
        pred = network(torch.from_numpy(state.astype(np.float32)), torch.tensor([row.t])).numpy()
        v = np.clip(row.q * pred, -row.clip, row.clip) if row.clip else row.q * pred
        state = row.c_state * state + row.c[0] * v + row.sigma * noise["step"][index]
    assert np.abs(state - wanted).max() < 1e-6
