"""How near a finished image can be expected to come to PyTorch: as near as PyTorch comes to itself.

Each call of a sampler passes the errors of earlier calls on, and some networks enlarge them: PyTorch with and
without oneDNN differs by 1e-6 to 6e-6 in one call, and by up to 3e-4 after 20 calls of the small random networks
of the tests, as does ONNX Runtime. A fixed bound would either refuse right bundles or miss wrong ones, so it
follows the network.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from lqhq.export.family import Arrays, Recipe
from lqhq.export.reference import reference_image
from lqhq.runtime.parity import FINISHED, MOST_CHANGED, TRAJECTORY, Tolerance

__all__ = ["tolerances"]

JITTER = 2e-6  # of every prediction, about what two right engines differ by
MARGIN = 4.0  # seen: right engines come to 0.3 to 2 times the jittered reference's distance
MOST = 4e-3  # half a level of 8 bits; a network that needs more cannot be compared


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
    distance = float(np.abs(exact.unit - moved.unit).max()) * (high - low)
    count = int((exact.levels != moved.levels).sum())
    share = count / exact.levels.size if count > FINISHED.few else 0.0  # a few are let pass anyway
    # The clamp comes last: what rounding adds to a value of 5 is still there in its neighbour that is below 1.
    floor = TRAJECTORY.max_abs * max(1.0, exact.largest)
    return (
        msgspec.structs.replace(TRAJECTORY, max_abs=min(MOST, max(floor, MARGIN * distance))),
        msgspec.structs.replace(FINISHED, changed=min(MOST_CHANGED, max(FINISHED.changed, MARGIN * share))),
    )
