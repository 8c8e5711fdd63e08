"""Device arrays, as far as torch on a CPU can show them."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from lqhq.runtime.engines import device_arrays
from lqhq.runtime.engines.device_arrays import GpuArrays, from_dlpack, holds_tensor, joined, to_host, wait_for
from lqhq.runtime.errors import EngineError

ONE, TWO = np.ones((1, 2), np.float32), np.full((1, 2), 2, np.float32)


def test_arrays_and_tensors_are_joined_on_the_device_where_any_is_there():
    assert isinstance(joined([ONE, TWO]), np.ndarray)
    mixed = joined([ONE, torch.from_numpy(TWO)])
    assert isinstance(mixed, torch.Tensor)
    assert mixed.tolist() == joined([ONE, TWO]).tolist() == [[1, 1], [2, 2]]


def test_views_that_torch_would_not_take_are_joined_too():
    """Reversed, and closed to writing: torch refuses the one and warns of the other."""
    reversed_, closed = np.float32([[1, 2]])[:, ::-1], np.broadcast_to(np.float32(3), (1, 2))
    assert joined([torch.zeros(1, 2), reversed_, closed]).tolist() == [[0, 0], [2, 1], [3, 3]]


def test_what_is_a_tensor():
    assert not holds_tensor({"a": ONE})
    assert holds_tensor({"a": ONE, "b": torch.ones(1)})


def test_to_host_does_not_copy_on_the_cpu():
    tensor = torch.ones(2)
    assert to_host(ONE) is ONE
    assert to_host(tensor).ctypes.data == tensor.data_ptr()
    assert to_host(tensor.requires_grad_()).tolist() == [1, 1]


def test_memory_is_taken_over_without_a_copy():
    tensor = torch.ones(2)
    assert from_dlpack(torch.utils.dlpack.to_dlpack(tensor)).data_ptr() == tensor.data_ptr()
    wait_for(tensor)  # nothing is queued on a CPU


def test_without_torch_or_cuda_it_says_what_to_install(monkeypatch):
    if not torch.cuda.is_available():
        with pytest.raises(EngineError, match="sees no GPU"):
            GpuArrays(0)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(EngineError, match=r"pip install '\.\[gpu\]'"):
        device_arrays.import_torch()


@pytest.mark.gpu
def test_a_gpu_uploads_computes_and_downloads():
    arrays = GpuArrays(0)
    held = arrays.empty((1, 2))
    arrays.upload(TWO, held)
    copied = arrays.copy(held)
    arrays.upload(torch.ones(1, 2, device="cuda"), held)
    replay = arrays.capture(lambda: copied.add_(held))
    replay()
    replay()
    assert arrays.download(copied).tolist() == [[4, 4]]
    assert arrays.reserve(16).shape == (16,)
