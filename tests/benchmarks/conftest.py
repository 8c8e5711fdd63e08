"""The benchmarks are scripts, not a package: their folder is what Python puts on the path when one is run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))


@pytest.fixture(autouse=True)
def _torch_as_it_was() -> Iterator[None]:
    """A contender sets its process up as it likes; here it shares one with other tests."""
    grad, threads = torch.is_grad_enabled(), torch.get_num_threads()
    yield
    torch.set_grad_enabled(grad)
    torch.set_num_threads(threads)
