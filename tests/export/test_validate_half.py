"""The comparison of half precision must turn red on a wrong graph, an overflow, a NaN, and on nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from lqhq.export.families import FAMILIES
from lqhq.export.half import at_precision
from lqhq.export.judged_images import judged_images
from lqhq.export.load import load_model
from lqhq.export.trace import trace
from lqhq.export.validate import Photo
from lqhq.export.validate_half import largest_allowed, validate_half
from lqhq.runtime.bundle import Bundle, open_bundle
from lqhq.runtime.precision import EMULATED, LEAST_PSNR

PHOTOS = {"photo.png": Photo(np.random.default_rng(3).integers(0, 256, (24, 20, 3), dtype=np.uint8))}
KINDS = {"denoise", "denoise, PyTorch's", "image", "image, PyTorch", "extreme image", "extreme image, PyTorch"}
KINDS |= {"largest value", "finite"}


@pytest.fixture
def film_half(exported):
    """The recipe and the bundle, with graphs in all precisions."""
    folder = exported("film-half")
    return load_model(FAMILIES[0], folder.parent / "film-half-checkpoint").recipe, open_bundle(folder)


@pytest.fixture(scope="module", autouse=True)
def _exported_before(exported) -> None:
    """An export takes longer than a test may; it belongs to the set-up."""
    exported("film-half")


def compared(recipe, bundle, precision="fp16", **options):
    images = judged_images(recipe, bundle.manifest, PHOTOS)
    return validate_half(recipe, bundle, precision, images=images, threads=1, **options)


def failed(found) -> set[str]:
    return {case.what for case in found.report.cases if not case.passed}


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_it_passes_on_what_was_exported(film_half, precision):
    found = compared(*film_half, precision)
    report = found.report
    assert report.passed, report.table()
    assert {case.what for case in report.cases} == KINDS
    assert (report.precision, report.how) == (precision, EMULATED)
    assert report.table().splitlines()[-1].endswith(f"({precision}, {EMULATED})")
    images = [case for case in report.cases if case.what == "image"]
    assert {case.case for case in images} >= {"photo.png 24x20, fast"}
    assert all((case.tolerance, case.unit) == (LEAST_PSNR[precision], "dB") for case in images)
    extremes = {case.case.split()[0] for case in report.cases if case.what == "extreme image"}
    assert extremes == {"black", "white", "saturated", "board"}
    assert {record.unit for record in report.records() if record.what in KINDS - {"largest value", "finite"}} == {"dB"}
    assert 20 < found.psnr["denoise"] < 100
    assert 0.5 < found.largest["denoise"] < 10


def test_more_may_be_asked(film_half):
    found = compared(*film_half, least_psnr=150.0)
    assert {"image", "image, PyTorch"} <= failed(found)
    assert not {"denoise", "largest value", "finite"} & failed(found)


@pytest.fixture
def changed(film_half, tmp_path):
    """The bundle with its fp16 graph's initialisers changed by a function, by the name that they end in."""

    def build(change: Callable[[np.ndarray], np.ndarray], name: str) -> Bundle:
        _, bundle = film_half
        folder = tmp_path / "changed"
        shutil.copytree(bundle.folder, folder)
        file = folder / "graphs" / "denoise.fp16.onnx"
        model = onnx.load(file)
        (tensor,) = [one for one in model.graph.initializer if one.name.endswith(name)]
        tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), tensor.name))
        onnx.save(model, file)
        return Bundle(folder, bundle.manifest)

    return build


def swapped(weight: np.ndarray) -> np.ndarray:
    """Red for blue: the network unfolds 2x2 cells, so each colour is four channels."""
    return np.concatenate([weight[8:], weight[4:8], weight[:4]])


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (swapped, "tail.weight"),
        (lambda weight: weight * np.float16(1.05), "head.weight"),
        (lambda bias: bias + np.float16(0.02), "tail.bias"),
    ],
    ids=["swapped channels", "a weight off by 5 %", "a bias off by 0.02"],
)
def test_another_graph_is_seen(film_half, changed, change, name):
    """The planted faults are in the engine's graph alone: PyTorch's half precision is as good as before."""
    found = compared(film_half[0], changed(change, name))
    assert {"denoise", "denoise, PyTorch's"} <= failed(found)
    assert not {"image, PyTorch", "largest value", "finite"} & failed(found)


class Beside(nn.Module):
    """The network with something beside it that half precision may not like."""

    def __init__(self, module: nn.Module, beside: nn.Module) -> None:
        super().__init__()
        self.module, self.beside = module, beside

    def forward(self, state: Tensor, t: Tensor) -> Tensor:
        return self.module(state, t) + self.beside(state)


class Squares(nn.Module):
    """Squares of numbers up to `most`; what comes of it is next to nothing, even of infinity."""

    def __init__(self, most: float) -> None:
        super().__init__()
        self.most = nn.Parameter(torch.tensor([most]))  # a module with weights computes in their type

    def forward(self, x: Tensor) -> Tensor:
        return 1e-3 * torch.tanh((x * self.most).square())


class FlatIsLost(nn.Module):
    """Infinity less infinity, where a whole neighbourhood is black or white."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor([270.0]))

    def forward(self, x: Tensor) -> Tensor:
        large = (self.gain * nn.functional.avg_pool2d(x, 9, stride=1, padding=4, count_include_pad=False)).square()
        return 0.001 * (large - 0.999 * large) / (large + 1)


@pytest.fixture
def beside(film_half, recipe_of, tmp_path, request):
    """The recipe with the parameter's module beside its network, and a bundle with its fp16 graph."""
    _, bundle = film_half
    model = load_model(FAMILIES[0], bundle.folder.parent / "film-half-checkpoint")
    recipe = recipe_of(model, module=Beside(model.network.module, request.param).eval())
    folder = tmp_path / "beside"
    shutil.copytree(bundle.folder, folder)
    (graph,) = recipe.graphs
    trace(at_precision(graph, "fp16"), folder / "graphs" / "denoise.fp16.onnx", precision="fp16")
    return recipe, Bundle(folder, bundle.manifest)


@pytest.mark.parametrize("beside", [Squares(400.0)], indirect=True, ids=["infinite"])
def test_a_hidden_overflow_is_seen(beside):
    """The finished image is right; a number past 65504 on the way is an error all the same."""
    found = compared(*beside)
    assert failed(found) == {"largest value", "finite"}
    (largest,) = [case for case in found.report.cases if case.what == "largest value"]
    assert largest.case.startswith("denoise module.beside ")
    assert found.largest["denoise"] == float("inf")


@pytest.mark.parametrize("beside", [Squares(110.0)], indirect=True, ids=["19000"])
def test_numbers_too_near_the_largest_are_seen(beside):
    """110 squared, and enlarging overshoots: no overflow here, but on another photo."""
    found = compared(*beside)
    assert failed(found) == {"largest value"}
    assert 16376 < found.largest["denoise"] < 25000


@pytest.mark.parametrize("beside", [Squares(90.0)], indirect=True, ids=["13000"])
def test_numbers_below_the_bound_are_let_pass(beside):
    found = compared(*beside)
    assert failed(found) == set()
    assert 8000 < found.largest["denoise"] <= 16376


@pytest.mark.parametrize("beside", [FlatIsLost()], indirect=True, ids=["flat"])
def test_a_nan_on_extreme_images_fails(beside):
    """No photo and no random input shows it."""
    found = compared(*beside)
    assert {"finite", "extreme image, PyTorch"} <= failed(found)  # the engine, which lacks the fault, passes
    assert "denoise" not in failed(found)


def test_bounds_of_the_types():
    assert largest_allowed("fp16") == 65504 / 4
    assert largest_allowed("bf16") > 1e37


def test_islands_of_the_graphs_given_are_used(film_half):
    """With everything in float32, PyTorch's half differs by nothing; the engine's graph is still the halved one."""
    recipe, bundle = film_half
    islands = {graph.role: ("",) for graph in recipe.graphs}
    found = validate_half(
        recipe, bundle, "fp16", islands=islands, images=judged_images(recipe, bundle.manifest, PHOTOS), threads=1
    )
    exact = [case.measure.psnr for case in found.report.cases if case.what == "image, PyTorch"]
    assert all(psnr is None for psnr in exact)
    assert found.largest == {"denoise": 0.0}


def test_the_role_s_psnr_is_the_worst_of_engine_and_pytorch(film_half, changed):
    recipe, bundle = film_half
    sound = compared(recipe, bundle).psnr["denoise"]
    worse = compared(recipe, changed(lambda bias: bias + np.float16(0.02), "tail.bias")).psnr["denoise"]
    assert worse < sound - 6
