"""Profiles: what is fed by default is covered, what is written is read, what cannot be is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lqhq.runtime.bundle import read_manifest
from lqhq.runtime.engine_spec import Profile, Range
from lqhq.runtime.errors import OptionError
from lqhq.runtime.manifest import Manifest
from lqhq.runtime.profiles import (
    check_profiles,
    choose_profile,
    default_profiles,
    describe,
    fits,
    in_latents,
    parse_profile,
    takes_image,
)

ROLES = ("reduce", "encode", "decode")


@pytest.fixture
def tiny(tiny_bundle: Callable[..., Path]) -> Manifest:
    """Multiple 4, smallest 8, preferred 32."""
    return read_manifest(tiny_bundle())


@pytest.fixture
def guided(guided_bundle: Callable[..., Path]) -> Manifest:
    """Multiple 4, smallest 4, preferred 16, and 16 for `reduce`."""
    return read_manifest(guided_bundle(growth=2))


def profile(height: tuple[int, ...], width: tuple[int, ...], batch: tuple[int, ...] = (1, 1, 1)) -> Profile:
    return Profile(batch=Range(*batch), height=Range(*height), width=Range(*width))


def test_defaults_are_the_preferred_tile_then_every_smaller_one(tiny: Manifest) -> None:
    first, second = default_profiles(tiny, "denoise", batch=Range(1, 2, 8))
    assert first == profile((32, 32, 32), (32, 32, 32), (1, 2, 8))
    assert second == profile((8, 32, 32), (8, 32, 32), (1, 2, 8))


def test_a_role_of_vectors_has_its_batch_alone(guided: Manifest) -> None:
    (only,) = default_profiles(guided, "encode")
    assert only == profile((1, 1, 1), (1, 1, 1), (1, 1, 4))


def test_reduce_has_its_own_side_and_goes_up_to_the_tiles_of_the_image(guided_bundle: Callable[..., Path]) -> None:
    raw = {"reach": 1, "preferred": 10}  # no multiple of 4: the runtime rounds it up
    manifest = read_manifest(guided_bundle(reduction=raw))
    first, second = default_profiles(manifest, "reduce")
    assert first.height == first.width == (12, 12, 12)
    assert second.height == second.width == (4, 12, 16)


def test_no_second_profile_where_nothing_is_smaller(tiny_bundle: Callable[..., Path]) -> None:
    hints = {"multiple": 4, "smallest": 16, "preferred": 16, "overlap": 8, "blend": "final"}
    pad = [{"op": "pad", "mode": "reflect", "multiple": 4, "smallest": 16}]
    assert len(default_profiles(read_manifest(tiny_bundle(tiles=hints, prepare=pad)), "denoise")) == 1


def test_defaults_pass_their_own_check(tiny: Manifest, guided: Manifest) -> None:
    check_profiles(default_profiles(tiny, "denoise"), tiny, "denoise")
    for role in ROLES:
        check_profiles(default_profiles(guided, role), guided, role)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("256x256", profile((256, 256, 256), (256, 256, 256))),
        ("256x512@1-8", profile((256, 256, 256), (512, 512, 512), (1, 1, 8))),
        ("64-512x64-256@2", profile((64, 512, 512), (64, 256, 256), (2, 2, 2))),
        (" 1x1@1-16 ", profile((1, 1, 1), (1, 1, 1), (1, 1, 16))),
    ],
)
def test_parse_reads_height_width_and_batch(text: str, wanted: Profile) -> None:
    assert parse_profile(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        *("", "256", "256x", "x256", "256x256@", "256x256@0", "0x8", "512-64x64", "8x8@4-1", "8x8x8", "8*8", "-8x8"),
        *("8-x8", "8x8@1-2-3", "70000x8", "8x8@9999", "9999999999x8", "８x8", "8.0x8", "8x8 @1"),
    ],
)
def test_parse_refuses_what_is_no_profile(text: str) -> None:
    with pytest.raises(OptionError, match="Write for instance 256x256"):
        parse_profile(text)


@given(
    *[st.tuples(st.integers(1, 1 << 16), st.integers(1, 1 << 16)).map(sorted)] * 2,
    st.tuples(st.integers(1, 1024), st.integers(1, 1024)).map(sorted),
)
def test_describe_is_read_back(height: list[int], width: list[int], batch: list[int]) -> None:
    whole = profile((height[0], height[1], height[1]), (width[0], width[1], width[1]), (batch[0], batch[0], batch[1]))
    assert parse_profile(describe(whole)) == whole


def test_the_narrowest_profile_is_chosen() -> None:
    wide, batched, single = (parse_profile(text) for text in ("8-32x8-32@1-8", "32x32@1-8", "32x32@1"))
    profiles = (wide, batched, single)
    assert choose_profile(profiles, 1, 32, 32) == 2
    assert choose_profile(profiles, 2, 32, 32) == 1
    assert choose_profile(profiles, 8, 32, 16) == 0
    assert choose_profile(profiles, 9, 32, 32) is None
    assert choose_profile(profiles, 1, 33, 32) is None
    assert choose_profile((single, single), 1, 32, 32) == 0
    assert choose_profile((), 1, 32, 32) is None


@given(st.integers(1, 6), st.integers(1, 12).map(lambda k: 4 * k), st.integers(1, 12).map(lambda k: 4 * k))
def test_what_is_chosen_fits_and_none_is_left_out(n: int, height: int, width: int) -> None:
    profiles = tuple(parse_profile(text) for text in ("32x32@1-4", "8-32x8-32", "16x16-48@2"))
    found = choose_profile(profiles, n, height, width)
    assert (found is None) == (not any(fits(each, n, height, width) for each in profiles))
    assert found is None or fits(profiles[found], n, height, width)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (profile((30, 30, 30), (32, 32, 32)), "multiples of 4"),
        (profile((32, 32, 32), (8, 31, 32)), "multiples of 4"),
        (profile((4, 32, 32), (32, 32, 32)), "at least 8"),
        (profile((32, 8, 32), (32, 32, 32)), "tuned for 8"),
        (profile((32, 32, 32), (32, 32, 16)), "width 32 to 16"),
        (profile((32, 32, 32), (32, 32, 32), (0, 1, 4)), "batch 0 to 4"),
        (profile((32, 32, 32), (32, 32, 32), (1, 1, 4096)), "batch 1 to 4096"),
    ],
)
def test_sides_that_the_bundle_never_runs_are_refused(tiny: Manifest, bad: Profile, why: str) -> None:
    with pytest.raises(OptionError, match=why):
        check_profiles((bad,), tiny, "denoise")


def test_none_twice_and_sides_for_vectors_are_refused(tiny: Manifest, guided: Manifest) -> None:
    with pytest.raises(OptionError, match="no profile"):
        check_profiles((), tiny, "denoise")
    with pytest.raises(OptionError, match="twice"):
        check_profiles((parse_profile("32x32"),) * 2, tiny, "denoise")
    with pytest.raises(OptionError, match="takes no image"):
        check_profiles((parse_profile("8x8"),), guided, "encode")


def test_takes_image_looks_at_sides_not_at_ranks(guided: Manifest) -> None:
    assert [takes_image(guided.graphs[role]["fp32"].inputs) for role in ROLES] == [True, False, True]


# Latent models: graphs count in latents, words in pixels


@pytest.fixture
def latent(latent_bundle: Callable[..., Path]) -> Manifest:
    """Factor 8; in pixels: multiple 8, smallest 32, preferred 128."""
    return read_manifest(latent_bundle(factor=8, worded=True, tagged=True))


def test_defaults_of_latents_are_in_latents(latent: Manifest) -> None:
    for role in ("encode", "denoise", "decode"):
        first, second = default_profiles(latent, role)  # type: ignore[arg-type]
        assert first.height == first.width == (16, 16, 16)
        assert second.height == second.width == (4, 16, 16)
        check_profiles((first, second), latent, role)  # type: ignore[arg-type]
    for role in ("text", "tag"):
        (only,) = default_profiles(latent, role)  # type: ignore[arg-type]
        assert only == profile((1, 1, 1), (1, 1, 1), (1, 1, 4))
        check_profiles((only,), latent, role)  # type: ignore[arg-type]


def test_sides_below_the_smallest_are_no_latents_that_are_run(latent: Manifest) -> None:
    check_profiles((parse_profile("4x5"),), latent, "denoise")  # any number of latents from the smallest on
    with pytest.raises(OptionError, match="a side of 3 px; expected at least 4"):
        check_profiles((parse_profile("3x16"),), latent, "denoise")


def test_in_latents_divides_every_side_and_no_batch() -> None:
    asked = (profile((64, 128, 512), (8, 8, 8), (1, 2, 8)), parse_profile("64x64"))
    assert in_latents(asked, 8) == (profile((8, 16, 64), (1, 1, 1), (1, 2, 8)), parse_profile("8x8"))
    assert in_latents((), 8) == ()


@pytest.mark.parametrize(
    "sides", [((60, 64, 64), (64, 64, 64)), ((64, 64, 64), (64, 68, 72)), ((64, 64, 65), (8, 8, 8))]
)
def test_sides_that_are_no_whole_latents_are_refused(sides: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    """The planted fault: least, best and most each count."""
    with pytest.raises(OptionError, match="multiples of 8"):
        in_latents((profile(*sides),), 8)
