"""In which batch sizes the models that are served may be called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lqhq.runtime.engine_spec import Profile
from lqhq.runtime.manifest import Manifest
from lqhq.runtime.profiles import fits
from lqhq.server.batching.batch_key import BatchKey, Model

__all__ = ["BatchSizes"]

ALONE = (1,)
Profiles = Mapping[str, Sequence[Profile]]  # by role; none: any shape


class BatchSizes:
    """A `Sizes`: powers of two up to `most`, and `most`, as far as engines that were built for shapes take them.

    Of latent models only `denoise` is batched: the memory of the other roles was planned for one call, and segments
    and words are once an image. May be asked on any thread; `add` and `forget` are for one.
    """

    def __init__(self, most: int) -> None:
        if most < 1:
            raise ValueError(f"most: found {most}; expected at least 1")
        self._sizes = tuple(sorted({most, *(1 << power for power in range(most.bit_length()))}))
        self._models: dict[Model, tuple[bool, Profiles]] = {}

    def add(self, model: Model, manifest: Manifest, profiles: Profiles) -> None:
        """`profiles` are those of `EngineShapes`."""
        self._models[model] = manifest.latent is not None, profiles

    def forget(self, model: Model) -> None:
        self._models.pop(model, None)

    def __call__(self, key: BatchKey) -> tuple[int, ...]:
        """Ascending; (1,) for a model that is not known."""
        latent, profiles = self._models.get(key.model, (True, {}))
        if key.model not in self._models or (latent and key.role != "denoise"):
            return ALONE
        built = profiles.get(key.role)
        if not built:
            return self._sizes
        sides = max(1, key.height), max(1, key.width)  # graphs of vectors have profiles of 1 x 1
        return tuple(size for size in self._sizes if any(fits(one, size, *sides) for one in built)) or ALONE
