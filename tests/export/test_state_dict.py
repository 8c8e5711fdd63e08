"""Names of tensors: prefixes, renaming, the strict comparison."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lqhq.export.state_dict import fill, rename, rows, select_prefix, strip_wrappers
from lqhq.runtime.errors import CheckpointError

ONE = torch.ones(1)


def test_wrappers_go_where_all_names_have_them_and_are_reported():
    notes: list[str] = []
    assert list(strip_wrappers({"module._orig_mod.a": ONE, "module._orig_mod.b": ONE}, notes)) == ["a", "b"]
    assert len(notes) == 2
    notes = []
    assert list(strip_wrappers({"module.a": ONE, "b": ONE}, notes)) == ["module.a", "b"]
    assert not notes


def test_select_prefix_reports_what_it_sets_aside():
    notes: list[str] = []
    tensors = {"f.a": ONE, "g.a": ONE, "alpha": ONE}
    assert list(select_prefix("w", tensors, "f.", notes)) == ["a"]
    assert "set aside 2 others: g.a, alpha" in notes[1]
    with pytest.raises(CheckpointError, match="no name that starts with 'h"):
        select_prefix("w", tensors, "h.", notes)


def test_two_tensors_under_one_name_are_refused():
    notes: list[str] = []
    assert list(rename("w", {"old": ONE}, lambda name: "new", notes)) == ["new"]
    assert "old -> new" in notes[0]
    with pytest.raises(CheckpointError, match="two tensors that both mean new"):
        rename("w", {"old": ONE, "new": ONE}, lambda name: "new", notes)


def test_fill_lists_missing_unexpected_and_wrong_shapes():
    network = nn.Linear(2, 3)
    with pytest.raises(CheckpointError) as caught:
        fill("w", network, {"weight": torch.zeros(2, 3), "extra": ONE})
    for words in ("1 missing: bias", "1 unexpected: extra", "wrong shape: weight [2, 3] instead of [3, 2]"):
        assert words in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.complex64])
def test_fill_refuses_weights_that_are_no_floats(dtype):
    network = nn.Linear(2, 3)
    with pytest.raises(CheckpointError, match=f"1 not floating: weight {dtype}"):
        fill("w", network, {"weight": torch.ones(3, 2).to(dtype), "bias": torch.zeros(3)})


def test_fill_lets_whole_numbers_be_where_the_network_has_them():
    network = nn.BatchNorm1d(2)  # counts its batches
    fill("w", network, {**network.state_dict(), "num_batches_tracked": torch.tensor(7)})
    assert int(network.num_batches_tracked) == 7


def test_fill_stores_fp32_for_inference():
    network = nn.Linear(2, 3).train()
    fill("w", network, {"weight": torch.full((3, 2), 0.5, dtype=torch.float16), "bias": torch.zeros(3)})
    assert network.weight.dtype == torch.float32
    assert float(network.weight[0, 0]) == 0.5
    assert not network.training
    assert not network.weight.requires_grad


def test_rows_of_a_missing_tensor():
    assert rows("w", {"a": torch.zeros(4, 5)}, "a", 1) == 5
    with pytest.raises(CheckpointError, match="no usable tensor b"):
        rows("w", {"a": ONE}, "b")
