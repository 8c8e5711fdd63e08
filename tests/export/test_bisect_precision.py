"""The search for islands: on made-up trees, and on networks with one planted overflow."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lqhq.export.bisect_precision import bisect_precision, smallest_islands
from lqhq.export.families import FAMILIES
from lqhq.export.half_settings import read_plan
from lqhq.export.judged_images import judged_images
from lqhq.export.load import load_model
from lqhq.export.validate import Photo
from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.errors import CheckpointError
from lqhq.runtime.image_file import ImageFile
from lqhq.runtime.image_write import write_image
from lqhq.runtime.selfcheck import replay
from lqhq.tools.cli.main import run

TREE = {
    "": ["head", "body", "tail"],
    "body": ["body.0", "body.1", "body.2"],
    **{f"body.{i}": [f"body.{i}.conv", f"body.{i}.norm"] for i in range(3)},
    "tail": ["tail.a", "tail.b"],
}
LEAVES = ["head", *(f"body.{i}.{part}" for i in range(3) for part in ("conv", "norm")), "tail.a", "tail.b"]
FAR = {"cat": Photo(np.random.default_rng(3).integers(0, 256, (24, 20, 3), dtype=np.uint8))}


def parts(path: str) -> Sequence[str]:
    return TREE.get(path, [])


def covers(islands: Iterable[str], path: str) -> bool:
    return any(not one or path == one or path.startswith(f"{one}.") for one in islands)


def needs(*paths: str) -> Callable[[Sequence[str]], bool]:
    """Passes where every one of `paths` is an island or inside one."""
    return lambda islands: all(covers(islands, path) for path in paths)


@given(st.sets(st.sampled_from(LEAVES)))
@settings(max_examples=100, deadline=None)
def test_exactly_the_needed_leaves_are_found(needed: set[str]):
    assert smallest_islands(parts, needs(*needed)) == tuple(sorted(needed))


@pytest.mark.parametrize("path", ["body.1", "body", "tail"])
def test_a_module_that_is_needed_as_a_whole(path):
    """None of its parts will do: what stands between them overflows."""
    assert smallest_islands(parts, lambda islands: any(one in islands for one in (path, *above(path)))) == (path,)


def above(path: str) -> list[str]:
    return ["", *(path.rsplit(".", count)[0] for count in range(1, path.count(".") + 1))]


def test_the_whole_network_may_be_needed():
    assert smallest_islands(parts, lambda islands: "" in islands) == ("",)
    assert smallest_islands(lambda path: [], lambda islands: "" in islands) == ("",)


def test_parts_of_parts_where_the_parts_themselves_do_not_do():
    """A block that ends in half precision is worse as an island than its layers are."""
    needed = {"body.0.norm", "body.2.conv"}
    found = smallest_islands(parts, lambda islands: "" in islands or (set(islands) >= needed))
    assert set(found) == needed


@given(st.lists(st.sets(st.sampled_from(LEAVES), min_size=1, max_size=3), min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_what_is_found_passes_and_is_minimal(alternatives: list[set[str]]):
    """One of several sets suffices; then which one is found is open, but none of it can be left out."""

    def passes(islands: Sequence[str]) -> bool:
        return any(needs(*one)(islands) for one in alternatives)

    found = smallest_islands(parts, passes)
    assert passes(found)
    for less in combinations(found, len(found) - 1):
        assert not passes(less)
    for one in found:
        assert not covers([other for other in found if other != one], one)


def test_few_trials_are_made():
    asked: list[tuple[str, ...]] = []

    def passes(islands: Sequence[str]) -> bool:
        asked.append(tuple(islands))
        return needs("leaf.77")(islands)

    tree = {"": [f"leaf.{i}" for i in range(128)]}
    assert smallest_islands(lambda path: tree.get(path, []), passes) == ("leaf.77",)
    assert len(asked) < 40  # not one for each of 128


class Wild(nn.Module):
    """About x, by way of numbers past 65504; in half precision x is lost."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sqrt((x * 1000) ** 2 + 1) / 1000 * torch.sign(x)


class Planted(nn.Module):
    """Calm layers around one that is not; `gone` says what becomes of an overflow."""

    def __init__(self, gone: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(8)
        self.before, self.wild, self.after = nn.Conv2d(3, 6, 3, padding=1), Wild(), nn.Conv2d(6, 3, 3, padding=1)
        self.never_called, self.gone = nn.Linear(2, 2), gone

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return x + 0.1 * self.after(self.gone(self.wild(self.before(x)))) * t[:, None, None, None]


def finite(x: Tensor) -> Tensor:
    return torch.nan_to_num(x, posinf=0.0, neginf=0.0)


def as_it_is(x: Tensor) -> Tensor:
    return x


@pytest.fixture
def planted(film, recipe_of, untraced):
    """A recipe with the planted network in it, and its bundle."""

    def build(gone: Callable[[Tensor], Tensor] = finite):
        recipe = recipe_of(load_model(FAMILIES[0], film()), module=Planted(gone).eval())
        return recipe, untraced(recipe)

    return build


def judged(recipe, bundle, precision, **options):
    """What is found on one image of noise."""
    images = judged_images(recipe, bundle.manifest, FAR)
    return bisect_precision(recipe, bundle, precision, images=images, **options)


@pytest.mark.parametrize("gone", [finite, as_it_is])
def test_it_finds_exactly_the_planted_overflow(planted, gone):
    """Also where the overflow makes the whole image NaN."""
    lines: list[str] = []
    plan = judged(*planted(gone), "fp16", say=lines.append)
    assert plan.islands == {"denoise": ("module.wild",)}
    assert plan.precision == "fp16"
    assert plan.psnr >= 50
    assert "module.wild must stay in float32" in "\n".join(lines)


def test_bfloat16_has_the_range_and_needs_no_island_for_it(planted):
    assert judged(*planted(), "bf16").islands == {"denoise": ()}


def test_islands_that_are_there_are_tried_first_and_kept(planted):
    recipe, bundle = planted()
    sound = judged(recipe, bundle, "fp16", given={"denoise": ("module.wild", "module.after")})
    assert sound.islands == {"denoise": ("module.wild", "module.after")}
    more = judged(recipe, bundle, "fp16", given={"denoise": ("module.before",)})
    assert set(more.islands["denoise"]) == {"module.before", "module.wild"}


def test_a_bound_out_of_reach_is_an_error(planted, monkeypatch):
    """Where even float32 does not come there, as if the form that is halved were another network."""
    monkeypatch.setattr("lqhq.export.bisect_precision._Trial._distance", lambda *_: 12.34)
    with pytest.raises(CheckpointError, match=r"--bisect-precision: found 12\.3 dB at best, .* at least 5\d\.0 dB"):
        judged(*planted(), "fp16")


def test_least_psnr_is_what_is_asked(planted):
    """Less needs less: the island is for the overflow alone, and at 200 dB nothing may be rounded."""
    assert judged(*planted(), "fp16", least_psnr=200).islands["denoise"] != ("module.wild",)


TIMES = 2.0**17  # powers of two: in float32 the network is the same to the bit


def scaled(folder: Path) -> None:
    """The film network with the first convolution of its block times 2^17, and the second divided by it.

    What stands between them is past 65504, so no part of the block will do as an island: its first convolution would
    give the overflow back as half precision. The block will.
    """
    tensors = load_file(folder / "model.safetensors")
    for name in ("conv1.weight", "conv1.bias"):
        tensors[f"body.0.{name}"] *= TIMES
    shift = tensors["body.0.film.weight"].shape[0] // 2
    for name in ("weight", "bias"):
        tensors[f"body.0.film.{name}"][shift:] *= TIMES
    tensors["body.0.conv2.weight"] /= TIMES
    save_file(tensors, folder / "model.safetensors")


@pytest.fixture(scope="module")
def overflowing(tmp_path_factory) -> tuple[Path, Path, Path]:
    """Such a checkpoint, its float32 bundle, and a photo."""
    from lqhq.export.families.indi.film_resnet import FilmResNet

    root = tmp_path_factory.mktemp("overflowing")
    shape = {"width": 8, "blocks": 1, "time_width": 8, "fold": 2}
    told = {"format": "lqhq-indi", "network": "film_resnet", **shape, "time_scale": 1.0, "scale": 2}
    told |= {"resize": "bicubic", "schedules": {"fast": {"steps": 1}}}
    checkpoint = root / "checkpoint"
    checkpoint.mkdir()
    torch.manual_seed(0)
    save_file(FilmResNet(**shape).state_dict(), checkpoint / "model.safetensors")
    (checkpoint / "config.json").write_text(json.dumps(told))
    scaled(checkpoint)
    write_image(root / "photo.png", ImageFile(pixels=FAR["cat"].image))
    assert run(["export", "indi", str(checkpoint), "-o", str(root / "bundle")]) == 0
    return checkpoint, root / "bundle", root / "photo.png"


@pytest.fixture(scope="module")
def plan(overflowing) -> Path:
    """What the command line finds."""
    checkpoint, bundle, photo = overflowing
    file = bundle.parent / "plan.json"
    argv = ["parity", str(bundle), "--checkpoint", str(checkpoint), "--image", str(photo)]
    assert run([*argv, "--bisect-precision", "fp16", "-o", str(file)]) == 0
    return file


@pytest.fixture(scope="module")
def planned(overflowing, plan) -> Path:
    """The bundle that is exported with that plan."""
    checkpoint, bundle, photo = overflowing
    target = bundle.parent / "planned"
    argv = ["export", "indi", str(checkpoint), "-o", str(target), "--precision=fp16", "--image", str(photo)]
    assert run([*argv, "--precision-plan", str(plan)]) == 0
    return target


def test_the_command_line_finds_the_block_around_the_overflow(plan):
    assert read_plan(plan).islands == {"denoise": ("module.body.0",)}
    assert read_plan(plan).psnr >= 50


def test_export_takes_the_plan_and_the_bundle_checks_itself(planned):
    bundle = open_bundle(planned)
    found = bundle.manifest.graphs["denoise"]["fp16"].plan
    assert found.islands == ("module.body.0",)
    assert found.layers["convolution"] == {"float16": 3, "float32": 2}
    assert replay(bundle, precision="fp16", threads=1).passed


@pytest.mark.slow
def test_a_plan_that_forgets_the_overflow_fails_and_names_the_search(overflowing, plan, tmp_path, capsys):
    """The planted fault: the same plan without its island."""
    checkpoint, _, photo = overflowing
    told = json.loads(plan.read_text()) | {"islands": {"denoise": []}}
    (tmp_path / "plan.json").write_text(json.dumps(told))
    argv = ["export", "indi", str(checkpoint), "-o", str(tmp_path / "out"), "--precision=fp16", "--image", str(photo)]
    assert run([*argv, "--precision-plan", str(tmp_path / "plan.json")]) != 0
    shown = capsys.readouterr()
    assert "--bisect-precision" in shown.out + shown.err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_plan_for_another_network_is_refused(overflowing, plan, tmp_path, capsys):
    told = json.loads(plan.read_text()) | {"islands": {"denoise": ["module.body.7"]}}
    (tmp_path / "plan.json").write_text(json.dumps(told))
    argv = ["export", "indi", str(overflowing[0]), "-o", str(tmp_path / "out"), "--precision=fp16"]
    assert run([*argv, "--precision-plan", str(tmp_path / "plan.json")]) == 2
    assert "found an island 'module.body.7'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_plan_for_roles_that_the_network_has_not_is_refused(overflowing, plan, tmp_path, capsys):
    told = json.loads(plan.read_text()) | {"islands": {"decode": ["module.body.0"]}}
    (tmp_path / "plan.json").write_text(json.dumps(told))
    argv = ["export", "indi", str(overflowing[0]), "-o", str(tmp_path / "out"), "--precision=fp16"]
    assert run([*argv, "--precision-plan", str(tmp_path / "plan.json")]) == 2
    assert "decode" in capsys.readouterr().err


@pytest.mark.slow
def test_export_searches_by_itself_where_no_plan_is_given(overflowing, tmp_path, capsys):
    checkpoint, _, photo = overflowing
    argv = ["export", "indi", str(checkpoint), "-o", str(tmp_path / "out"), "--precision=fp16", "--image", str(photo)]
    assert run(argv) == 0
    assert open_bundle(tmp_path / "out").manifest.graphs["denoise"]["fp16"].plan.islands == ("module.body.0",)
    assert "looking for what must stay in float32" in capsys.readouterr().out
