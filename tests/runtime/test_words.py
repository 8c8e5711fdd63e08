"""Words: what a bundle takes, and each refusal with its mend; ids with and without words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lqhq.runtime.bundle import Bundle, open_bundle
from lqhq.runtime.errors import BundleError, EngineError, OptionError
from lqhq.runtime.prompt import PromptTokenizer
from lqhq.runtime.restorer import Restorer
from lqhq.runtime.words import Asked, Words, check_words

Build = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("latent_prompt")  # importing it takes its time, in the setup


def opened(folder: Path) -> Bundle:
    return open_bundle(folder, verified=None)


def test_what_is_taken_passes(latent_bundle: Build, tiny_bundle: Build) -> None:
    both = opened(latent_bundle("both", worded=True, tagged=True))
    for asked in (Asked(), Asked(prompt=""), Asked(prompt="a cat"), Asked(tagger=True), Asked(prompt="a", tagger=True)):
        check_words(both, asked)
    check_words(opened(latent_bundle("words", worded=True)), Asked(prompt="a cat"))
    check_words(opened(latent_bundle("baked")), Asked())
    check_words(opened(tiny_bundle()), Asked())


@pytest.mark.parametrize(
    ("kind", "asked", "message"),
    [
        (
            "baked",
            Asked(prompt="a cat"),
            r"prompt: found 'a cat'; expected none: this bundle's prompt was fixed at export, 'a photo'\. "
            r"Leave it out, or export without --prompt",
        ),
        ("baked", Asked(prompt=""), "prompt: found ''; expected none"),
        ("unbaked", Asked(prompt="a cat"), r"expected none: this bundle's prompt was fixed at export\. Leave it out"),
        ("baked", Asked(tagger=True), r"a bundle with a graph for tag; 'latent' has none\. Leave it out\.$"),
        ("words", Asked(tagger=True), "a graph for tag; .*or export again with --ram and --dape"),
        ("tiny", Asked(prompt="a cat"), r"expected none: 'tiny' takes no prompt\. Leave it out\.$"),
        ("tiny", Asked(tagger=True), r"'tiny' has none\. Leave it out\.$"),
    ],
)
def test_what_is_not_is_refused_with_its_mend(
    latent_bundle: Build, tiny_bundle: Build, kind: str, asked: Asked, message: str
) -> None:
    build: dict[str, Callable[[], Path]] = {
        "baked": latent_bundle,
        "unbaked": lambda: latent_bundle(baked_prompt=None),
        "words": lambda: latent_bundle(worded=True),
        "tiny": tiny_bundle,
    }
    bundle = opened(build[kind]())
    with pytest.raises(OptionError, match=message):
        check_words(bundle, asked)
    with Restorer.open(bundle, threads=1) as restorer, pytest.raises(OptionError, match=message):
        restorer.restore(np.zeros((9, 9, 3), np.uint8), prompt=asked.prompt, tagger=asked.tagger)


def test_long_texts_are_shown_cut(latent_bundle: Build) -> None:
    with pytest.raises(OptionError) as error:
        check_words(opened(latent_bundle(baked_prompt="b" * 4000)), Asked(prompt="a" * 4000))
    assert len(str(error.value)) < 400


@pytest.fixture
def words(latent_bundle: Build) -> tuple[Words, list[str], Bundle]:
    said: list[str] = []
    bundle = opened(latent_bundle(worded=True, tagged=True))
    return Words(bundle, said.append), said, bundle


def ids(bundle: Bundle, text: str) -> list[list[int]]:
    spec = bundle.manifest.prompt
    assert spec is not None
    return PromptTokenizer.open(bundle.path(spec.tokenizer), spec).ids(text).ids.tolist()


def test_nothing_said_is_the_stored_ids(words: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own, said, bundle = words
    with monkeypatch.context() as patch:
        patch.setattr(PromptTokenizer, "open", None)  # no tokenizer is needed
        found = own.ids(Asked(), None)
    assert found.dtype == np.int64
    assert found.shape == (1, 77)
    assert found.tolist() == ids(bundle, ", ,")
    assert said == []


def test_a_prompt_is_taken_as_it_is_and_tags_by_the_template(words: Any) -> None:
    own, said, bundle = words
    assert own.ids(Asked(prompt="a cat"), None).tolist() == ids(bundle, "a cat")
    light = np.float32([1, -1, 1])
    assert own.ids(Asked(prompt="a cat", tagger=True), light).tolist() == ids(bundle, "red, blue, a cat,")
    assert own.ids(Asked(tagger=True), -light).tolist() == ids(bundle, "green, ,")
    assert said == ["prompt: red, blue, a cat,", "prompt: green, ,"]
    assert ids(bundle, "red, blue, a cat,") != ids(bundle, "blue, red, a cat,")  # the planted fault: another order


def test_what_is_too_long_is_said(words: Any) -> None:
    own, said, bundle = words
    assert own.ids(Asked(prompt="a " * 80), None).tolist() == ids(bundle, "a " * 75)
    assert said == [f"prompt: 5 tokens too long for the 77 that are read: {('a ' * 75).strip()!r}"]


def test_files_are_opened_once(words: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own, _, _ = words
    opens: list[str] = []
    real = PromptTokenizer.open
    monkeypatch.setattr(PromptTokenizer, "open", lambda *given: (opens.append("tokenizer"), real(*given))[1])
    for _ in range(3):
        own.ids(Asked(prompt="a", tagger=True), np.zeros(3, np.float32))
    assert opens == ["tokenizer"]


def test_logits_that_do_not_fit_are_refused(words: Any) -> None:
    own, _, _ = words
    with pytest.raises(BundleError, match="3 tags for logits"):
        own.ids(Asked(tagger=True), np.zeros(4, np.float32))
    with pytest.raises(EngineError, match="tag graph"):
        own.ids(Asked(tagger=True), np.full(3, np.nan, np.float32))
