"""A family's tile hints with the settings' overrides."""

from __future__ import annotations

import pytest

from lqhq.export.settings import TileSettings
from lqhq.export.tile_hints import tile_hints
from lqhq.runtime.errors import OptionError

OWN = {"multiple": 8, "smallest": 16, "preferred": 256, "overlap": 64, "reach": None, "deviations": ("attention",)}


def test_the_familys_own_where_nothing_is_set():
    found = tile_hints(None, **OWN)
    assert (found.multiple, found.smallest, found.preferred, found.overlap) == (8, 16, 256, 64)
    assert (found.blend, found.trained, found.reach, found.deviations) == ("final", None, None, ("attention",))


def test_settings_come_first_and_zero_is_a_setting():
    found = tile_hints(TileSettings(preferred=128, overlap=0, blend="each", trained=64), **OWN)
    assert (found.preferred, found.overlap, found.blend, found.trained) == (128, 0, "each", 64)


@pytest.mark.parametrize(("overlap", "told"), [(64, True), (80, False), (96, False)])
def test_a_short_overlap_is_told_where_the_reach_is_known(overlap, told):
    """A quarter of it is the guard: 16 of 20 px are too few, 20 are not."""
    found = tile_hints(TileSettings(overlap=overlap), **OWN | {"reach": 20, "deviations": ()})
    assert bool(found.deviations) is told
    assert not told or "only 16 of the 20 px" in found.deviations[0]


@pytest.mark.parametrize("own", [TileSettings(preferred=100), TileSettings(overlap=136)])
def test_what_does_not_fit_is_refused(own):
    with pytest.raises(OptionError, match=r"tiles: .* \"tiles\" in --config"):
        tile_hints(own, **OWN)
