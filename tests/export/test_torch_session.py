"""A PyTorch module behind the contract of engines."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lqhq.export.family import RoleGraph
from lqhq.export.half import halved
from lqhq.export.half_arithmetic import HalfArithmetic
from lqhq.export.torch_session import TorchSession
from lqhq.runtime import manifest as m

VECTOR = m.Tensor(dtype="float32", shape=("N", 4))


class Two(nn.Module):
    """Not symmetric in its inputs, and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.layer = nn.Linear(4, 4)

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer(a) - b, a.sum(dim=1, keepdim=True)


def role(outputs: tuple[str, ...] = ("difference", "total")) -> RoleGraph:
    return RoleGraph(
        role="encode",
        module=Two(),
        plain=Two(),
        inputs={"a": VECTOR, "b": VECTOR},
        outputs=dict.fromkeys(outputs, VECTOR),
        examples=lambda draw, n, height, width: {},
    )


def feed() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(1)
    return {"b": draw.normal(size=(3, 4)).astype(np.float32), "a": draw.normal(size=(3, 4)).astype(np.float32)}


def test_inputs_go_by_name_and_outputs_come_by_name():
    given = feed()
    with TorchSession(role(), Two(), HalfArithmetic()) as session:
        found = session.run(given)
        assert session.largest is None
    with torch.no_grad():
        wanted = Two()(torch.from_numpy(given["a"]), torch.from_numpy(given["b"]))
    assert list(found) == ["difference", "total"]
    for array, tensor in zip(found.values(), wanted, strict=True):
        assert array.dtype == np.float32
        assert np.array_equal(array, tensor.numpy())
    swapped = {"a": given["b"], "b": given["a"]}  # the planted fault
    with TorchSession(role(), Two(), HalfArithmetic()) as session:
        assert not np.array_equal(session.run(swapped)["difference"], found["difference"])


def test_values_are_noted_by_the_names_of_the_network_itself():
    """Not by those of what wraps it: a plan of islands has the same names."""
    arithmetic, half = HalfArithmetic(), halved(Two(), torch.float16, ())
    with TorchSession(role(), half, arithmetic) as session:
        found = session.run(feed())
    assert found["difference"].dtype == np.float32
    assert ("layer", "addmm") in arithmetic.largest
    assert all(not path.startswith("module") for path, _ in arithmetic.largest)


def test_a_closed_session_leaves_no_hooks():
    module = Two()
    session = TorchSession(role(), module, HalfArithmetic())
    assert any(one._forward_hooks for one in module.modules())
    session.close()
    session.close()
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in module.modules())


def test_an_output_too_many_is_noticed():
    with (
        TorchSession(role(("difference",)), Two(), HalfArithmetic()) as session,
        pytest.raises(ValueError, match="zip"),
    ):
        session.run(feed())
