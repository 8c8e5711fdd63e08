"""How near one call, and a finished image, can be expected to come to PyTorch: as near as PyTorch comes to itself.

Each call of a sampler passes the errors of earlier calls on, and some networks enlarge them: PyTorch with and
without oneDNN differs by 1e-6 to 6e-6 in one call, and by up to 3e-4 after 20 calls of the small random networks
of the tests, as does ONNX Runtime. A fixed bound would either refuse right bundles or miss wrong ones, so it
follows the network. Within one call, networks that divide by small norms enlarge rounding too: there the weights are
moved by a few units in the last place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lqhq.export.family import Arrays, Recipe, RoleGraph
from lqhq.export.reference import reference_image, reference_outputs
from lqhq.runtime.parity import FINISHED, FORWARD, MOST_CHANGED, MOST_FORWARD, TRAJECTORY, Tolerance

__all__ = ["JITTER", "forward_bound", "tolerances"]

WEIGHT_JITTER = 5e-7  # relative, four units in the last place of float32: what sums in another order come to
JITTER = 2e-6  # of every prediction, about what two right engines differ by
MARGIN = 4.0  # seen: right engines come to 0.3 to 2 times the jittered reference's distance
MOST = 4e-3  # half a level of 8 bits; a network that needs more cannot be compared


@contextmanager
def _moved_weights(graphs: Sequence[RoleGraph]) -> Iterator[None]:
    """All weights of the plain networks changed by up to `WEIGHT_JITTER`, from a fixed seed.

    Each module's own weights are changed while it runs, and put back behind it: a copy of all of them would take as
    much memory again.
    """
    with ExitStack() as stack:
        for module in {id(one): one for graph in graphs for one in graph.plain.modules()}.values():
            if next(module.parameters(recurse=False), None) is not None:
                moved = _Moved()
                stack.callback(module.register_forward_pre_hook(moved.before).remove)
                stack.callback(module.register_forward_hook(moved.after, always_call=True).remove)
        yield


class _Moved:
    """Hooks around one module."""

    def __init__(self) -> None:
        self._kept: list[tuple[nn.Parameter, Tensor]] = []

    def before(self, module: nn.Module, args: Any) -> None:
        draw = torch.Generator().manual_seed(0)
        for one in module.parameters(recurse=False):
            self._kept.append((one, one.data))
            one.data = one.data * (1 + WEIGHT_JITTER * _noise(one.shape, draw))

    def after(self, module: nn.Module, args: Any, output: Any) -> None:
        for one, value in self._kept:
            one.data = value
        self._kept.clear()


def _noise(shape: torch.Size, draw: torch.Generator) -> Tensor:
    """In [-1, 1]. A matrix has one row of it, and a sign for each output: a billion numbers take half a minute."""
    row = 2 * torch.rand(shape[1:] if len(shape) > 1 else shape, generator=draw) - 1
    if len(shape) < 2:
        return row
    signs = 2 * torch.randint(2, (shape[0], *[1] * (len(shape) - 1)), generator=draw) - 1
    return row * signs


def forward_bound(graph: RoleGraph, feed: Arrays) -> float:
    """The bound of one call, relative to each output's largest value where that is above one; `FORWARD`'s or more."""
    exact = reference_outputs(graph, feed)
    with _moved_weights([graph]):
        moved = reference_outputs(graph, feed)
    largest = {name: max(1.0, float(np.abs(array).max())) for name, array in exact.items()}
    distance = max(float(np.abs(moved[name] - array).max()) / largest[name] for name, array in exact.items())
    return min(MOST_FORWARD, max(FORWARD.max_abs, MARGIN * distance))


def tolerances(
    recipe: Recipe,
    image: NDArray[np.uint8],
    *,
    mask: NDArray[np.uint8] | None = None,
    schedule: str | None = None,
    noise: Arrays,
) -> tuple[Tolerance, Tolerance]:
    """For the floats in the network's range, and for the 8 bits: never below `TRAJECTORY` and `FINISHED`.

    The arguments are those of `reference_image`. The floor of the floats grows with the reference's largest value
    above one, taken before the clamp: float32 rounds in proportion.
    """
    low, high = recipe.pixels.range
    jitter = JITTER * (high - low) / 2
    exact = reference_image(recipe, image, mask=mask, schedule=schedule, noise=noise)
    moved = reference_image(recipe, image, mask=mask, schedule=schedule, noise=noise, jitter=jitter)
    with _moved_weights(recipe.graphs):
        other = reference_image(recipe, image, mask=mask, schedule=schedule, noise=noise)
    distance = max(float(np.abs(exact.unit - one.unit).max()) for one in (moved, other)) * (high - low)
    count = max(int((exact.levels != one.levels).sum()) for one in (moved, other))
    share = count / exact.levels.size if count > FINISHED.few else 0.0  # a few are let pass anyway
    # The clamp comes last: what rounding adds to a value of 5 is still there in its neighbour that is below 1.
    floor = TRAJECTORY.max_abs * max(1.0, exact.largest)
    return (
        msgspec.structs.replace(TRAJECTORY, max_abs=min(MOST, max(floor, MARGIN * distance))),
        msgspec.structs.replace(FINISHED, changed=min(MOST_CHANGED, max(FINISHED.changed, MARGIN * share))),
    )
