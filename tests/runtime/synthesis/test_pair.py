"""One pair: its parts by hand, and what fails it."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.degrade import degrade, load_degradation
from lqhq.runtime.errors import OptionError
from lqhq.runtime.image_file import read_image
from lqhq.runtime.restorer import Restorer
from lqhq.runtime.synthesis.pair import Failure, Pair, PairJob, synthesis_of
from lqhq.runtime.synthesis.pair_key import noise_seed, pair_key, strength_share


def made(recipe, job):
    with recipe.open() as maker:
        return maker(job)


def decoded(tmp_path, data):
    (tmp_path / "decoded.png").write_bytes(data)
    return read_image(tmp_path / "decoded.png").pixels


def test_a_pair_is_what_its_row_says(tmp_path, recipe, sources):
    chosen = recipe(with_hq=True)
    pair = made(chosen, PairJob(sources[0], 1))
    data = sources[0].path.read_bytes()
    key = pair_key(chosen.settings.seed, hashlib.sha256(data).digest(), 1)
    steps = max(1, int(20 * 0.25 * strength_share(key)))
    hq = read_image(sources[0].path).pixels[:40, :48]
    degraded = degrade(hq, load_degradation("mild"), scale=4, key=key)
    with Restorer.open(chosen.bundle, threads=1) as restorer:
        lq = restorer.restore(degraded.pixels, schedule=f"last-{steps}", seed=noise_seed(key))
    assert np.array_equal(decoded(tmp_path, pair.lq), lq)
    assert lq.shape == (10, 12, 3)
    assert np.array_equal(decoded(tmp_path, pair.hq), hq)
    row = json.loads(json.dumps(pair.row))
    assert (row["key"], row["steps"], row["schedule"]) == (key.hex(), steps, f"last-{steps}")
    assert (row["hq_size"], row["lq_size"], row["noise_seed"]) == ([48, 40], [12, 10], noise_seed(key))
    assert row["lq_sha256"] == hashlib.sha256(pair.lq).hexdigest()
    assert row["hq_sha256"] == hashlib.sha256(pair.hq).hexdigest()
    assert row["source_sha256"] == hashlib.sha256(data).hexdigest()
    assert row["parameters"] == list(degraded.parameters)


def test_pairs_of_one_image_differ_and_each_comes_again(recipe, sources):
    jobs = [PairJob(sources[0], index) for index in range(4)]
    with recipe().open() as maker:
        one = [maker(job) for job in jobs]
        two = [maker(job) for job in jobs[::-1]][::-1]
    assert one == two
    assert len({pair.lq for pair in one}) == 4
    assert len({pair.row["strength"] for pair in one}) == 4


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_the_channel_order_is_the_networks_alone(tmp_path, recipe, sources, tiny_bundle, order):
    """Feeding it in another order is what a bundle of that order does; the degradation is the same."""
    chosen = recipe(channel_order=order)
    pair = made(chosen, PairJob(sources[0], 0))
    manifest = open_bundle(chosen.bundle).manifest
    named = tiny_bundle(
        "named",
        task="degradation",
        schedules=manifest.schedules,
        default_schedule=manifest.default_schedule,
        synthesis=manifest.synthesis,
        pixels={"range": (-1.0, 1.0), "order": order},
    )
    with Restorer.open(named, threads=1) as restorer:
        degraded = degrade(
            read_image(sources[0].path).pixels, load_degradation("mild"), scale=4, key=bytes.fromhex(pair.row["key"])
        )
        row = pair.row
        expected = restorer.restore(degraded.pixels, schedule=row["schedule"], seed=row["noise_seed"])
    assert np.array_equal(decoded(tmp_path, pair.lq), expected)


def test_the_channel_order_shows(recipe, sources):
    orders = {made(recipe(channel_order=order), PairJob(sources[0], 0)).lq for order in ("rgb", "bgr")}
    assert len(orders) == 2


@pytest.mark.parametrize("content", [b"no image", None])
def test_a_bad_image_is_a_failure(recipe, sources, content):
    sources[1].path.unlink()
    if content is not None:
        sources[1].path.write_bytes(content)
    with recipe().open() as maker:
        failure = maker(PairJob(sources[1], 0))
        assert isinstance(failure, Failure)
        assert failure.error.startswith(f"{sources[1].path}: found ")
        assert isinstance(maker(PairJob(sources[0], 0)), Pair)


def test_memory_that_runs_out_is_a_failure(recipe, sources, monkeypatch):
    def refuse(*_, **__):
        raise MemoryError

    monkeypatch.setattr(Restorer, "restore", refuse)
    failure = made(recipe(), PairJob(sources[0], 0))
    assert isinstance(failure, Failure)
    assert "--memory" in failure.error


def test_tiles_follow_the_setting_and_not_what_is_free(recipe, sources, monkeypatch):
    told = []
    restore = Restorer.restore
    monkeypatch.setattr(Restorer, "restore", lambda *image, **named: told.append(named) or restore(*image, **named))
    made(recipe(memory=123_456_789), PairJob(sources[0], 0))
    assert [named["memory"] for named in told] == [123_456_789]


def test_other_bundles_are_refused(tiny_bundle):
    with pytest.raises(OptionError, match="a bundle for synthesis"):
        synthesis_of(open_bundle(tiny_bundle()))
