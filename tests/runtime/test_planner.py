"""The planner: what a restoration will be, from the form of an image and the shapes of engines alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lqhq.runtime.autotile import Choice
from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.engine_shapes import EngineShapes
from lqhq.runtime.errors import ImageError, LimitError, OptionError
from lqhq.runtime.image_form import ImageForm
from lqhq.runtime.planner import Planner
from lqhq.runtime.prompt import PromptTokenizer
from lqhq.runtime.restorer import Restorer

Build = Callable[..., Path]
UINT8 = np.dtype(np.uint8)
pytestmark = pytest.mark.usefixtures("latent_prompt")  # importing its library takes its time, in the setup


def planner(folder: Path, shapes: EngineShapes | None = None) -> Planner:
    return Planner(open_bundle(folder, verified=None), lambda: shapes or EngineShapes())


@pytest.mark.parametrize(("channels", "dtype"), [(3, "uint8"), (4, "uint16"), (1, "float32")])
def test_it_plans_from_the_form_what_the_restorer_plans_from_the_image(
    tiny_bundle: Build, channels: int, dtype: str
) -> None:
    folder, image = tiny_bundle(scale=2), np.zeros((40, 56, channels), dtype)
    options: dict[str, Any] = {"tile": 24, "overlap": 8, "schedule": "three", "memory": 1 << 33}
    told = planner(folder).plan(ImageForm.of(image), **options)
    with Restorer.open(folder, threads=1) as restorer:
        assert restorer.plan(image, **options) == told
    wider = ImageForm(40, 64, channels, np.dtype(dtype))
    assert planner(folder).plan(wider, **options) != told  # the planted fault: another form


def test_engines_limits_are_asked_for_each_plan(tiny_bundle: Build) -> None:
    known = [EngineShapes()]
    one = Planner(open_bundle(tiny_bundle(scale=4), verified=None), lambda: known[0])
    form = ImageForm(30, 30, 3, UINT8)
    free = one.plan(form)
    known[0] = EngineShapes(limits={"denoise": 32}, profiles={"denoise": ()})
    assert max(one.plan(form).plan.tile) <= 32 < max(free.plan.tile)


@pytest.mark.parametrize("rules", [None, "original"])
def test_the_form_of_the_result_is_told(latent_bundle: Build, rules: str | None) -> None:
    with Restorer.open(open_bundle(latent_bundle(scale=4), verified=None), threads=1) as restorer:
        one = Planner(restorer.bundle, lambda: EngineShapes.of(restorer._sessions, restorer.bundle.manifest))
        for size in ((20, 24), (3, 9)):
            image = np.full((*size, 3), 90, np.uint8)
            form = one.result_form(ImageForm.of(image), rules=rules)
            assert form == ImageForm.of(restorer.restore(image, rules=rules))


def test_a_choice_stands_for_its_options(tiny_bundle: Build) -> None:
    one, image = planner(tiny_bundle()), np.full((20, 28, 3), 9, np.uint8)
    choice = one.plan(ImageForm.of(image), tile=16, overlap=4)
    assert one.restoration(image, choice=choice).choice is choice
    assert len(choice.plan) > 1
    assert len(one.restoration(image).choice.plan) == 1
    with pytest.raises(ValueError, match="a plan of"):
        one.restoration(np.full((20, 32, 3), 9, np.uint8), choice=choice)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"strength": 0.5}, OptionError, "takes no strength"),
        ({"prompt": "a cat"}, OptionError, "takes no prompt"),
        ({"blend": "soft"}, OptionError, "'each' or 'final'"),
        ({"seed": -1}, OptionError, "seed"),
        ({"memory": 1000}, LimitError, "--memory"),
        ({"mask": np.zeros((8, 8))}, OptionError, "takes no mask"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(
    tiny_bundle: Build, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        planner(tiny_bundle()).restoration(np.full((8, 8, 3), 9, np.uint8), **options)
    with pytest.raises(ImageError, match="channel axis"):
        planner(tiny_bundle("again")).restoration(np.full((8, 8), 9, np.uint8))


def test_threads_open_one_tokenizer(latent_bundle: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: without the lock, opening slowly gives one to each."""
    one, real, opened = planner(latent_bundle(worded=True, tagged=True)), PromptTokenizer.open, list[Path]()

    def slowly(path: Path, prompt: Any) -> PromptTokenizer:
        opened.append(path)
        time.sleep(0.05)
        return real(path, prompt)

    monkeypatch.setattr(PromptTokenizer, "open", slowly)

    def check(index: int) -> Choice | Any:
        one.check(masked=False, schedule=None, blend=None, prior=None, prompt=f"photo {index}", tagger=True)
        return one.plan(ImageForm(40 + index, 50, 3, UINT8), memory=1 << 40)

    with ThreadPoolExecutor(4) as pool:
        plans = list(pool.map(check, range(8)))
    assert len(opened) == 1
    assert plans == [one.plan(ImageForm(40 + index, 50, 3, UINT8), memory=1 << 40) for index in range(8)]
