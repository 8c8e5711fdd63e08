"""Prompts: the text that the template makes, ids that are cut and filled, and files that are no tokenizer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from lqhq.runtime import prompt as module
from lqhq.runtime.clip_reading import READING
from lqhq.runtime.errors import BundleError, EngineError, OptionError
from lqhq.runtime.latent_spec import Prompt
from lqhq.runtime.prompt import MAX_CHARACTERS, PromptTokenizer, prompt_text

WORDS = {"[pad]": 0, "[first]": 1, "[last]": 2, "a": 3, "cat": 4, "sat": 5, "?": 6}
LENGTH = 6


def document(**changes: Any) -> dict[str, Any]:
    """A tokenizer of whole words, whose first and last token surround at most four others."""
    special = [{"id": number, "content": word, "special": True} for word, number in list(WORDS.items())[:3]]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": LENGTH, "strategy": "LongestFirst", "stride": 0},
        "padding": {
            "strategy": {"Fixed": LENGTH},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "[pad]",
        },
        "added_tokens": [{**token, **flags} for token in special],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "RobertaProcessing",
            "sep": ["[last]", 2],
            "cls": ["[first]", 1],
            "trim_offsets": False,
            "add_prefix_space": False,
        },
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": WORDS, "unk_token": "?"},
        **changes,
    }


def prompt(template: str = "{tags}, {words},", length: int = LENGTH) -> Prompt:
    return Prompt(tokenizer="assets/tokenizer.json", length=length, template=template, empty=(1, 2) * (length // 2))


@pytest.fixture(autouse=True)
def any_reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokenizers of whole words are short to write; the one form that is allowed has a test of its own."""
    if not request.node.name.startswith("test_only_clips_reading"):
        monkeypatch.setattr(module, "READING", {})
        monkeypatch.setattr(module, "KINDS", {})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(document()))
    return file


@pytest.mark.parametrize(
    ("tags", "words", "text"),
    [
        ([], "", ", ,"),
        (["cat", "grass"], "", "cat, grass, ,"),
        (["cat"], "sharp", "cat, sharp,"),
        ([], "{tags} {words} {0}", ", {tags} {words} {0},"),
    ],
)
def test_template(tags: list[str], words: str, text: str) -> None:
    assert prompt_text(prompt(), tags, words) == text


def test_a_hostile_template_is_only_text() -> None:
    text = prompt_text(prompt("{tags.__class__} {words!r:>999999999} {words}"), ["cat"], "x")
    assert text == "{tags.__class__} {words!r:>999999999} x"


@pytest.mark.parametrize(
    ("text", "ids", "cut", "kept"),
    [
        ("", [1, 2, 0, 0, 0, 0], 0, ""),
        ("a  cat", [1, 3, 4, 2, 0, 0], 0, "a  cat"),
        ("a cat sat a ", [1, 3, 4, 5, 3, 2], 0, "a cat sat a "),
        ("a cat sat a cat sat", [1, 3, 4, 5, 3, 2], 2, "a cat sat a"),
        ("dog [pad][last]", [1, 6, 0, 2, 2, 0], 0, "dog [pad][last]"),
        ("cat " * 100, [1, 4, 4, 4, 4, 2], 96, "cat cat cat cat"),
        ("[pad]" * 9, [1, 0, 0, 0, 0, 2], 5, "[pad]" * 4),
    ],
)
def test_cut_and_filled(path: Path, text: str, ids: list[int], cut: int, kept: str) -> None:
    found = PromptTokenizer.open(path, prompt()).ids(text)
    assert found.ids.dtype == np.int64
    assert found.ids.tolist() == [ids]
    assert (found.cut, found.kept_text) == (cut, kept)


def test_a_fault_would_show(path: Path) -> None:
    """Ids of a file whose first and last token are swapped are others."""
    swapped = {**document()["post_processor"], "sep": ["[first]", 1], "cls": ["[last]", 2]}
    path.write_text(json.dumps(document(post_processor=swapped)))
    assert PromptTokenizer.open(path, prompt()).ids("a").ids.tolist() != [[1, 3, 2, 0, 0, 0]]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"version": "1.0"}', "[" * 100_000])
def test_no_tokenizer(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(BundleError, match=r"assets/tokenizer\.json"):
        PromptTokenizer.open(path, prompt())


@pytest.mark.parametrize(
    "changes",
    [
        {"truncation": None},
        {"padding": None},
        {"padding": {**document()["padding"], "strategy": {"Fixed": 10**12}}},
        {"padding": {**document()["padding"], "strategy": "BatchLongest"}},
        {"padding": {**document()["padding"], "pad_to_multiple_of": 10**12}},
        {"truncation": {**document()["truncation"], "max_length": 5}},
        {"truncation": {**document()["truncation"], "stride": 3}},
    ],
)
def test_other_lengths_are_refused(path: Path, changes: dict[str, Any]) -> None:
    path.write_text(json.dumps(document(**changes)))
    with pytest.raises(BundleError, match="cutting and filling to 6 tokens"):
        PromptTokenizer.open(path, prompt())


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {**document()["model"], "unk_token": "nowhere"}},
        {"normalizer": {"type": "Replace", "pattern": {"Regex": "("}, "content": ""}},
    ],
)
def test_what_the_library_stumbles_over(path: Path, changes: dict[str, Any]) -> None:
    path.write_text(json.dumps(document(**changes)))
    with pytest.raises(BundleError, match=r"assets/tokenizer\.json"):
        PromptTokenizer.open(path, prompt()).ids("a dog sat " * 9)


def test_a_panic_is_a_wrong_file_and_an_interrupt_is_not(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})

    class Stub:
        truncation: ClassVar = {"max_length": LENGTH, "stride": 0}
        padding: ClassVar = {"length": LENGTH, "pad_to_multiple_of": None}
        error: ClassVar[BaseException]

        @classmethod
        def from_str(cls, text: str) -> Stub:
            return cls()

        def encode(self, text: str) -> None:
            raise self.error

    monkeypatch.setattr("tokenizers.Tokenizer", Stub)
    tokenizer = PromptTokenizer.open(path, prompt())
    Stub.error = panic("index out of bounds")
    with pytest.raises(BundleError, match="index out of bounds"):
        tokenizer.ids("a")
    Stub.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        tokenizer.ids("a")


def test_too_large_missing_and_not_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(BundleError, match="UTF-8"):
        PromptTokenizer.open(path, prompt())
    with path.open("wb") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(BundleError, match="16777217 bytes"):
        PromptTokenizer.open(path, prompt())
    path.unlink()
    with pytest.raises(BundleError, match="No such file"):
        PromptTokenizer.open(path, prompt())


def test_texts_that_are_none(path: Path) -> None:
    tokenizer = PromptTokenizer.open(path, prompt())
    with pytest.raises(OptionError, match="position 2"):
        tokenizer.ids("ab\udc80")
    with pytest.raises(OptionError, match="characters"):
        tokenizer.ids("a" * (MAX_CHARACTERS + 1))


def test_without_the_library(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(EngineError, match=r"pip install 'lqhq\[prompt\]'"):
        PromptTokenizer.open(path, prompt())


def test_importing_needs_no_library() -> None:
    code = "import sys; import lqhq.runtime.prompt; assert 'tokenizers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def bomb(count: int) -> dict[str, Any]:
    """Each replacement doubles a text."""
    double = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
    return {"type": "Sequence", "normalizers": [double] * count}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {**READING},
        {**READING, "normalizer": bomb(30)},
        {**READING, "model": {"type": "BPE"}, "post_processor": None},
    ],
)
def test_only_clips_reading_is_opened(path: Path, changes: dict[str, Any]) -> None:
    """A file may say any number of replacements: it is refused before the library sees it."""
    path.write_text(json.dumps(document(**changes)))
    with pytest.raises(BundleError, match="another way of reading a text"):
        PromptTokenizer.open(path, prompt())
    for text in ("[", "[]", "[" * 100_000):
        path.write_text(text)
        with pytest.raises(BundleError):
            PromptTokenizer.open(path, prompt())
