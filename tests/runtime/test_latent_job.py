"""Latent models through the Restorer: against NumPy, in every form, with words, any kind of image, without seams."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lqhq.runtime import latent_plan
from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.colour import fix_colour
from lqhq.runtime.driver import drive
from lqhq.runtime.errors import CancelledError, OptionError
from lqhq.runtime.geometry import Box, Size
from lqhq.runtime.job import Job
from lqhq.runtime.latent_job import LatentRun, Told
from lqhq.runtime.manifest import TileHints
from lqhq.runtime.noise import NoiseField
from lqhq.runtime.prepare import PreparedImage
from lqhq.runtime.prompt import PromptTokenizer
from lqhq.runtime.restorer import Restorer
from lqhq.runtime.sink import ImageSink
from lqhq.runtime.small_image import enlarged_small, shrunk
from lqhq.runtime.words import Asked, Words

Build = Callable[..., Path]
CLOSE = 2e-6  # float32 against float64, values of one
WIDE, UNIT, SPREAD, WORDS = 4, 0.5, 0.25, 0.1
GAIN, SHIFT = np.array([0.1, -0.05, 0.08, 0.04]), np.array([0.02, -0.01, 0, 0.03])


def photo(height: int = 37, width: int = 50, channels: int = 3, dtype: str = "float32") -> np.ndarray:
    draw = np.random.default_rng([5, height, width]).random((height, width, channels))
    values = 0.2 + 0.4 * draw + 0.1 * np.arange(channels) + 0.1 * np.linspace(0, 1, width)[:, None]
    full = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    return (np.clip(values, 0, 1) * full).astype(dtype)


# The bundle's networks in NumPy, float64, [C, H, W].


def blur(x: np.ndarray) -> np.ndarray:
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    weights = np.outer([1, 2, 1], [1, 2, 1]) / 16
    height, width = x.shape[1:]
    return sum(weights[i, j] * padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3))


def bent(x: np.ndarray) -> np.ndarray:
    groups = x.reshape(2, -1)
    normed = ((groups - groups.mean(1)[:, None]) / np.sqrt(groups.var(1)[:, None] + 1e-6)).reshape(x.shape)
    return x + blur(normed * GAIN[:, None, None] + SHIFT[:, None, None])


def encode(lq: np.ndarray, factor: int, noise: np.ndarray | float = 0.0) -> np.ndarray:
    x = bent(blur(np.concatenate([lq, lq.mean(0, keepdims=True)])))
    height, width = x.shape[1] // factor, x.shape[2] // factor
    small = x.reshape(WIDE, height, factor, width, factor).mean((2, 4))
    return (small + SPREAD * noise) * UNIT


def denoise(state: np.ndarray, cond: np.ndarray | None = None) -> np.ndarray:
    return blur(state) + (0.0 if cond is None else WORDS * cond.mean(0)[:, None, None])


def decode(state: np.ndarray, factor: int) -> np.ndarray:
    x = bent(blur(state / UNIT))
    for _ in range(factor.bit_length() - 1):
        x = blur(x.repeat(2, 1).repeat(2, 2))
    return x[:3]


def oracle(image: np.ndarray, factor: int = 2, noise: np.ndarray | float = 0.0, cond: Any = None) -> np.ndarray:
    """`image` `[H, W, 3]` in [0, 1], through a bundle of scale 1, without the colour fix."""
    pads = [(0, -side % factor) for side in image.shape[:2]]
    lq = np.pad(image.astype(np.float64), (*pads, (0, 0)), mode="reflect").transpose(2, 0, 1) * 2 - 1
    hq = decode(denoise(encode(lq, factor, noise), cond), factor)
    return np.clip(hq.transpose(1, 2, 0)[: image.shape[0], : image.shape[1]] / 2 + 0.5, 0, 1)


def opened(folder: Path, **options: Any) -> Restorer:
    return Restorer.open(open_bundle(folder, verified=None), threads=1, **options)


@pytest.fixture
def forms(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have `encode` and `decode` run in one form, in strips of about `strip` bytes."""

    def force(form: str, strip: int = 1 << 20) -> None:
        monkeypatch.setattr(latent_plan, "_may_be_whole", lambda request, role: form == "whole")
        monkeypatch.setattr(latent_plan, "FORMS", (form,))
        monkeypatch.setattr(latent_plan, "LEAST_STRIP", strip)
        monkeypatch.setattr(latent_plan, "MOST_STRIP", strip)

    return force


@pytest.mark.parametrize("factor", [2, 8])
@pytest.mark.parametrize("size", [(37, 50), (40, 64), (33, 90)])
def test_it_is_what_numpy_says(latent_bundle: Build, factor: int, size: tuple[int, int]) -> None:
    image = photo(*size)
    with opened(latent_bundle(factor=factor, scale=1)) as restorer:
        found = restorer.restore(image, color_fix="none")
    assert found == pytest.approx(oracle(image, factor), abs=CLOSE)


@pytest.mark.parametrize("factor", [2, 8])
@pytest.mark.parametrize("form", ["segments", "scratch"])
@pytest.mark.parametrize("strip", [1, 12_000, 1 << 20])
def test_every_form_gives_the_whole(
    latent_bundle: Build, forms: Callable[..., None], factor: int, form: str, strip: int, tmp_path: Path
) -> None:
    image, scratch = photo(38, 29), tmp_path / "scratch"
    scratch.mkdir()
    noise = {
        "posterior": np.random.default_rng(6).standard_normal((WIDE, -(-76 // factor), -(-58 // factor)), np.float32)
    }
    with opened(latent_bundle(factor=factor)) as restorer:
        whole = restorer.restore(image, noise=noise, tile=16 * factor)
        forms(form, strip)
        choice = restorer.plan(image, tile=16 * factor)
        assert (choice.encode, choice.decode) == (form, form)
        assert (max(step.count for step in choice.steps["decode"]) > 3) == (strip < 1 << 20)
        found = restorer.restore(image, noise=noise, tile=16 * factor, scratch=scratch)
    assert np.abs(found - whole).max() <= 1e-6
    assert not list(scratch.iterdir())


@pytest.mark.parametrize(("role", "index"), [("encode", 0), ("encode", 1), ("decode", 0), ("decode", 2)])
def test_a_segment_without_its_halo_is_seen(
    latent_bundle: Build, forms: Callable[..., None], role: Any, index: int
) -> None:
    """The planted fault of the forms."""
    bundle, image = open_bundle(latent_bundle(), verified=None), photo(70, 45)
    parts = list(bundle.manifest.segments[role])
    parts[index] = msgspec.structs.replace(parts[index], halo=0)
    segments = {**bundle.manifest.segments, role: tuple(parts)}
    faulty = type(bundle)(bundle.folder, msgspec.structs.replace(bundle.manifest, segments=segments))
    with Restorer.open(faulty, threads=1) as restorer:
        whole = restorer.restore(image)
        forms("segments", 1)
        assert np.abs(restorer.restore(image) - whole).max() > 1e-4


def test_a_scratch_folder_that_is_not_there_is_told(latent_bundle: Build, forms: Callable[..., None]) -> None:
    forms("scratch")
    with (
        opened(latent_bundle()) as restorer,
        pytest.raises(OptionError, match=r"scratch: found 'absent/folder', which is not there"),
    ):
        restorer.restore(photo(), scratch=Path("absent/folder"))


def test_noise_of_the_posterior_is_injected_or_zero(latent_bundle: Build) -> None:
    image = photo(36, 50)
    noise = np.random.default_rng(7).standard_normal((WIDE, 18, 25), np.float32)
    with opened(latent_bundle(scale=1)) as restorer:

        def restored(**options: Any) -> np.ndarray:
            return restorer.restore(image, color_fix="none", **options)

        drawn = restored(noise={"posterior": noise})
        assert drawn == pytest.approx(oracle(image, noise=noise), abs=CLOSE)
        assert np.abs(drawn - oracle(image, noise=noise[::-1])).max() > 1e-2  # the planted fault: channels swapped
        assert np.array_equal(restored(), restored(noise={"posterior": np.zeros_like(noise)}))
        assert np.array_equal(restored(), restored(seed=9))
        with pytest.raises(OptionError, match=r"expected finite float32 arrays of these shapes: .*\(4, 18, 25\)"):
            restored(noise={"posterior": noise[:, :, :-1]})


# Words


def table(ids: np.ndarray) -> np.ndarray:
    """The condition `[length, D]` of token ids."""
    return np.sin(np.outer(ids.ravel() + 1, np.arange(1, WIDE + 1)) * 0.37)


def conditioned(restorer: Restorer, image: np.ndarray, text: str) -> np.ndarray:
    spec = restorer.bundle.manifest.prompt
    assert spec is not None
    ids = PromptTokenizer.open(restorer.bundle.path(spec.tokenizer), spec).ids(text).ids
    return oracle(image, cond=table(ids))


@pytest.fixture
def told(latent_bundle: Build) -> Any:
    """A bundle with tags and a prompt, opened, and what it says."""
    said: list[str] = []
    with opened(latent_bundle(worded=True, tagged=True, scale=1), say=said.append) as restorer:
        yield restorer, said


def test_words_reach_the_network_as_they_are(told: Any) -> None:
    (restorer, said), image = told, photo()
    for prompt, text in ((None, ", ,"), ("", ""), ("a cat", "a cat"), (", a cat,", ", a cat,")):
        found = restorer.restore(image, prompt=prompt, color_fix="none")
        assert found == pytest.approx(conditioned(restorer, image, text), abs=CLOSE)
    assert np.abs(found - conditioned(restorer, image, "a dog")).max() > 1e-4  # the planted fault: other words
    assert said == []


def test_tags_come_before_the_words(told: Any) -> None:
    (restorer, said), image = told, photo()
    image[:] = (0.9, 0.1, 0.8)
    for prompt, text in ((None, "red, blue, ,"), ("sharp", "red, blue, sharp,")):
        found = restorer.restore(image, prompt=prompt, tagger=True, color_fix="none")
        assert found == pytest.approx(conditioned(restorer, image, text), abs=CLOSE)
        assert said.pop() == f"prompt: {text}"
    restorer.restore(np.zeros_like(image), tagger=True)
    assert said == ["prompt: , ,"]


def test_too_long_a_prompt_is_cut_and_told(told: Any) -> None:
    (restorer, said), image = told, photo()
    found = restorer.restore(image, prompt="a " * 100, color_fix="none")
    assert found == pytest.approx(conditioned(restorer, image, "a " * 75), abs=CLOSE)
    assert len(said) == 1
    assert said[0].startswith("prompt: 25 tokens too long for the 77 that are read: 'a a")


def test_planes_share_one_condition(told: Any) -> None:
    (restorer, _), image, asked = told, photo(channels=4), list[str]()
    sessions = restorer._sessions
    real = {role: sessions[role].run for role in ("text", "tag", "denoise")}
    for role, run in real.items():
        sessions[role].run = lambda feed, role=role, run=run: (asked.append(role), run(feed))[1]
    restorer.restore(image, prompt="a cat", tagger=True, tile=32)
    tiles = len(restorer.plan(image, tile=32).plan)
    assert asked == ["tag", "text", *["denoise"] * (2 * tiles)]


def test_the_condition_stays_where_it_was_made(told: Any) -> None:
    """On a GPU the text encoder's output is a tensor, which every tile is fed as it is."""
    import torch

    (restorer, _), image, fed = told, photo(), list[type]()
    wanted = restorer.restore(image, prompt="a cat", tile=32)
    text, denoise = restorer._sessions["text"], restorer._sessions["denoise"]
    real_text, real_denoise = text.run, denoise.run
    text.run = lambda feed: {"cond": torch.from_numpy(np.array(real_text(feed)["cond"]))}
    denoise.run = lambda feed: (fed.append(type(feed["cond"])), real_denoise(feed))[1]
    assert restorer.restore(image, prompt="a cat", tile=32) == pytest.approx(wanted, abs=CLOSE)
    assert len(fed) > 1
    assert set(fed) == {torch.Tensor}


def test_a_bundle_without_tags_or_prompt_needs_no_tokenizer(
    latent_bundle: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise AssertionError("opened a tokenizer")

    monkeypatch.setattr(PromptTokenizer, "open", refuse)
    with opened(latent_bundle(worded=True)) as restorer:
        restorer.restore(photo())
        with pytest.raises(AssertionError, match="tokenizer"):
            restorer.restore(photo(), prompt="a cat")


# Kinds of images


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_result_is_like_the_image(latent_bundle: Build, dtype: str, channels: int) -> None:
    with opened(latent_bundle()) as restorer:
        result = restorer.restore(photo(19, 23, channels, dtype))
    assert (result.shape, result.dtype) == ((38, 46, channels), np.dtype(dtype))


def test_depths_agree(latent_bundle: Build) -> None:
    eight = photo(dtype="uint8")
    with opened(latent_bundle()) as restorer:
        low, high, real = (
            restorer.restore(image, color_fix="none").astype(float)
            for image in (eight, eight.astype(np.uint16) * 257, eight.astype(np.float32) / 255)
        )
    assert np.abs(low - high / 257).max() <= 0.51
    assert np.abs(high / 257 - real * 255).max() <= 0.01


def test_grey_is_a_grey_rgb_and_alpha_is_restored_apart(latent_bundle: Build) -> None:
    grey, image = photo(channels=1), photo(channels=4)
    image[..., 3] = photo(channels=1)[..., 0]
    with opened(latent_bundle()) as restorer:
        rgb = restorer.restore(np.repeat(grey, 3, axis=2), color_fix="none")
        mean = rgb.mean(axis=2, keepdims=True)
        assert restorer.restore(grey, color_fix="none") == pytest.approx(mean, abs=CLOSE)
        both = restorer.restore(image)
        assert np.array_equal(both[..., 3:], restorer.restore(image[..., 3:], color_fix="none"))
        assert np.array_equal(both[..., :3], restorer.restore(np.ascontiguousarray(image[..., :3])))
        image[..., 3] = 0.25
        assert np.unique(restorer.restore(image)[..., 3]).tolist() == [0.25]


def test_the_colour_fix_is_the_manifests_unless_asked_for(latent_bundle: Build) -> None:
    image = photo(dtype="uint8")
    with opened(latent_bundle(scale=1)) as restorer:
        plain = restorer.restore(image, color_fix="none")

        def fixed(kind: Any) -> np.ndarray:
            return fix_colour(kind, plain, lambda box: image[box.rows, box.columns] / np.float32(255), mode="round")

        assert np.array_equal(restorer.restore(image), fixed("adain"))
        assert np.array_equal(restorer.restore(image, color_fix="adain"), fixed("adain"))
        assert np.array_equal(restorer.restore(image, color_fix="wavelet"), fixed("wavelet"))
        assert not np.array_equal(plain, fixed("adain"))


@pytest.mark.parametrize("size", [(5, 7), (3, 20), (1, 1), (7, 50), (8, 4)])
@pytest.mark.parametrize("factor", [2, 8])
def test_small_images_are_enlarged_and_shrunk_back(latent_bundle: Build, size: tuple[int, int], factor: int) -> None:
    image = photo(*size)
    with opened(latent_bundle(factor=factor)) as restorer:
        found = restorer.restore(image)
        large = restorer.restore(enlarged_small(image, 8))
        assert min(large.shape[:2]) == 16
        assert found.shape == (2 * size[0], 2 * size[1], 3)
        assert found == pytest.approx(shrunk(large, Size(2 * size[0], 2 * size[1])), abs=CLOSE)


# Progress, cancel, many at once


@pytest.mark.parametrize("form", ["whole", "segments"])
def test_progress_reaches_the_total(told: Any, forms: Callable[..., None], form: str) -> None:
    (restorer, _), image = told, photo()
    forms(form, 1)
    seen: list[tuple[int, int]] = []
    restorer.restore(image, tile=32, tagger=True, progress=lambda *at: seen.append(at))
    choice = restorer.plan(image, tile=32)
    calls = sum(step.count for steps in choice.steps.values() for step in steps) or 2
    total = 2 + len(choice.plan) + calls
    assert seen == [(done, total) for done in range(1, total + 1)]


def test_cancel_stops_at_any_call_and_leaves_the_restorer_whole(latent_bundle: Build) -> None:
    image = photo()
    with opened(latent_bundle()) as restorer:
        wanted = restorer.restore(image, tile=32)
        total = len(restorer.plan(image, tile=32).plan) + 2
        for stop in (0, 1, total // 2, total - 1):
            asked: list[int] = []

            def cancel(asked: list[int] = asked, stop: int = stop) -> bool:
                asked.append(0)
                return len(asked) > stop

            with pytest.raises(CancelledError, match=f"after {stop} of {total} network calls"):
                restorer.restore(image, tile=32, cancel=cancel)
        assert np.array_equal(restorer.restore(image, tile=32), wanted)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_many_jobs_share_one_drive(told: Any, batch: int) -> None:
    """Of different sizes and prompts: each gets what it gets alone. (Segments are for one job at a time.)"""
    restorer, said = told
    manifest = restorer.bundle.manifest
    words = Words(restorer.bundle, said.append)
    wanted, jobs = [], []
    for index, size in enumerate([(37, 50), (40, 64), (37, 50), (64, 40)]):
        image, asked = photo(*size), Asked(prompt=f"photo {index}", tagger=index == 3)
        image[0, 0] = index / 4
        wanted.append(restorer.restore(image, prompt=asked.prompt, tagger=asked.tagger, color_fix="none"))
        source = PreparedImage(image, manifest)
        run = LatentRun(
            manifest=manifest,
            schedule=manifest.schedules["one-step"],
            choice=restorer.plan(image),
            window="ramp",
            words=words,
            asked=asked,
            scratch=None,
        )
        sink = ImageSink(source.size, channels=3, dtype=np.dtype(np.float32), manifest=manifest)
        latents = (WIDE, *(side // 2 for side in source.canvas))
        noise = NoiseField(seed=0, shapes={"posterior": latents}, injected=None)
        jobs.append(Job(run.stages(source, noise, sink, Told()), sink))
    drive(jobs, restorer._sessions, batch=batch)
    for job, one in zip(jobs, wanted, strict=True):
        assert job.result() == pytest.approx(one, abs=CLOSE)


# Seams


def edge_distance(plan: Any, factor: int) -> np.ndarray:
    """Pixels to the nearest line inside the canvas where a tile begins or ends."""
    lines = [line * factor for left in plan.lefts for line in (left, left + plan.tile.width)]
    inner = [line for line in lines if 0 < line < plan.canvas.width * factor]
    return np.abs(np.arange(plan.canvas.width * factor)[:, None] + 0.5 - np.array(inner)).min(axis=1)


NARROW = TileHints(multiple=2, smallest=8, preferred=192, overlap=64, blend="each")  # 96 and 32 latents


def test_no_seam_where_the_original_loops_for_ever(latent_bundle: Build) -> None:
    """A canvas of 20 x 600 latents: 32 of overlap leave no step of a tile of 20."""
    image = photo(40, 1200)
    with opened(latent_bundle(scale=1, tiles=NARROW)) as restorer:
        whole = restorer.restore(image, tile=224, color_fix="none")
        assert len(restorer.plan(image, tile=224).plan) == 1
        plan = restorer.plan(image).plan
        assert (plan.tile.height, len(plan.tops), len(plan.lefts) > 5) == (20, 1, True)
        error = np.abs(restorer.restore(image, color_fix="none") - whole).max(axis=(0, 2))
        bare = np.abs(restorer.restore(image, tile=192, overlap=0, color_fix="none") - whole).max(axis=(0, 2))
        near = edge_distance(restorer.plan(image, tile=192, overlap=0).plan, 2) < 4
        with pytest.raises(OptionError, match=r"runs for ever here.*Use the default rules"):
            restorer.restore((image * 255).astype(np.uint8)[:20, :600], rules="original", tile=96, overlap=64)
    distance = edge_distance(plan, 2)
    assert error.max() <= CLOSE
    assert error[distance < 8].mean() <= error[distance >= 8].mean() + 1e-7
    # The planted fault: without overlap the zero padding of every tile shows, and at tile edges.
    assert bare[near].max() > 1e-2
    assert bare[near].mean() > 10 * bare[~near].mean()


@pytest.mark.parametrize("size", [(70, 90), (33, 140), (34, 34)])
def test_no_seam_in_two_directions(latent_bundle: Build, size: tuple[int, int]) -> None:
    image = photo(*size)
    with opened(latent_bundle(scale=1)) as restorer:
        whole = restorer.restore(image, tile=512, color_fix="none")
        for tile in (16, 24, 32):
            assert len(restorer.plan(image, tile=tile).plan) > 1
            assert np.abs(restorer.restore(image, tile=tile, color_fix="none") - whole).max() <= CLOSE


def test_rows_of_a_prepared_image_are_read_as_needed(latent_bundle: Build, forms: Callable[..., None]) -> None:
    """In segments no more than a strip of the enlarged image is made at a time."""
    forms("segments", 1)
    read: list[Box] = []
    real = PreparedImage.read
    with opened(latent_bundle()) as restorer, pytest.MonkeyPatch.context() as patch:
        patch.setattr(PreparedImage, "read", lambda self, box: (read.append(box), real(self, box))[1])
        restorer.restore(photo())
    assert len(read) > 10
    assert max(box.height for box in read) <= 4
