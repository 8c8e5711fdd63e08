"""CLIP's tokenizer in one file: the ids of the original's own tokenizer, and folders that are no CLIP refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lqhq.export.families.osediff.tokenizer import write_tokenizer
from lqhq.runtime.errors import CheckpointError
from lqhq.runtime.latent_spec import Prompt
from lqhq.runtime.prompt import PromptTokenizer

DATA = Path(__file__).resolve().parents[3] / "data" / "osediff-tiny"
ROWS = 714  # of the golden text encoder's embedding
FIRST, LAST, PAD = 712, 713, 0

# Seen of transformers' CLIPTokenizerFast (4.28.1 and 5.23.0, equal) on the golden tokenizer/: the ids between the first
# and the last. The slow one of 4.28.1 differs in apostrophes, accents, and most scripts.
SEEN = {
    "": [],
    " \n\t ": [],
    ", ,": [267, 267],
    "!": [0],
    "wow! great!!": [86, 78, 342, 0, 70, 517, 528, 0, 0],
    "it's": [72, 339, 6, 338],
    "''s": [6, 262, 338],
    "CAFÉ": [66, 64, 69, 127, 358],
    "cafe\u0301": [66, 64, 69, 127, 358],
    "12 4k": [272, 273, 275, 330],
    "a\u3000b": [320, 321],
    "日本": [162, 245, 98, 162, 250, 361],
    "👍🏽": [172, 253, 239, 235, 172, 253, 237, 377],
    "<b>&amp;": [283, 321, 29, 261, 64, 76, 335, 282],
    "<|endoftext|>": [713],
    "a<|endoftext|>b": [320, 713, 321],
    "<|ENDOFTEXT|>": [713],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(DATA / "base" / "tokenizer", tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


def opened(folder: Path) -> PromptTokenizer:
    target = folder.parent / "tokenizer.json"
    length, _ = write_tokenizer(folder, target, rows=ROWS)
    prompt = Prompt(tokenizer="assets/tokenizer.json", length=length, template="", empty=(0,) * length)
    return PromptTokenizer.open(target, prompt)


def edit(file: Path, change: Callable[[Any], Any]) -> None:
    file.write_text(json.dumps(change(json.loads(file.read_text()))))


def test_golden_prompts(folder: Path) -> None:
    with np.load(DATA / "case-text.npz") as case:
        prompts, wanted = case["prompts"], case["input_ids"]
    tokenizer = opened(folder)
    found = [tokenizer.ids(str(prompt)) for prompt in prompts]
    assert np.array_equal(np.concatenate([one.ids for one in found]), wanted)
    assert [one.cut > 0 for one in found] == [False, False, True]
    assert found[2].ids[0, -1] == LAST


def test_a_fault_would_show(folder: Path) -> None:
    """With the last merge learnt first, the golden prompts have other ids."""
    first, *merges = (folder / "merges.txt").read_text().strip().split("\n")
    (folder / "merges.txt").write_text("\n".join([first, *reversed(merges)]))
    with np.load(DATA / "case-text.npz") as case:
        prompts, wanted = case["prompts"], case["input_ids"]
    tokenizer = opened(folder)
    assert not np.array_equal(np.concatenate([tokenizer.ids(str(prompt)).ids for prompt in prompts]), wanted)


@pytest.mark.parametrize("text", SEEN)
def test_as_the_original_reads(folder: Path, text: str) -> None:
    ids = [FIRST, *SEEN[text], LAST]
    assert opened(folder).ids(text).ids.tolist() == [ids + [PAD] * (77 - len(ids))]


def test_case_accents_and_spaces(folder: Path) -> None:
    tokenizer = opened(folder)
    for text, same in (
        ("A  CAT\n", "a cat"),
        ("cafe\u0301", "café"),
        ("\u3000É", "é"),
        ("<|ENDOFTEXT|>", "<|endoftext|>"),
    ):
        assert np.array_equal(tokenizer.ids(text).ids, tokenizer.ids(same).ids)
    assert not np.array_equal(tokenizer.ids("café").ids, tokenizer.ids("cafe").ids)  # the slow one drops accents


def test_which_file_says_the_pad_token(folder: Path) -> None:
    """As with the published folder, where tokenizer_config.json names another."""
    edit(folder / "tokenizer_config.json", lambda config: {**config, "pad_token": "<|endoftext|>"})
    assert write_tokenizer(folder, folder / "a.json", rows=ROWS) == (77, PAD)
    (folder / "special_tokens_map.json").unlink()
    assert write_tokenizer(folder, folder / "a.json", rows=ROWS) == (77, LAST)
    edit(folder / "tokenizer_config.json", lambda config: {**config, "pad_token": {"content": "!", "normalized": True}})
    assert write_tokenizer(folder, folder / "a.json", rows=ROWS) == (77, PAD)
    added = json.loads((folder / "a.json").read_text())["added_tokens"]
    assert [(token["id"], token["normalized"]) for token in added] == [(PAD, True), (FIRST, True), (LAST, True)]


def test_strings_and_the_newer_form(folder: Path) -> None:
    plain = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    (folder / "special_tokens_map.json").write_text(json.dumps({**plain, "pad_token": "!"}))
    write_tokenizer(folder, folder / "a.json", rows=ROWS)
    added = json.loads((folder / "a.json").read_text())["added_tokens"]
    assert [token["normalized"] for token in added] == [False, False, False]
    listed = {"713": {"content": "<|endoftext|>", "normalized": True, "lstrip": False}}
    edit(folder / "tokenizer_config.json", lambda config: {**config, **plain, "added_tokens_decoder": listed})
    write_tokenizer(folder, folder / "a.json", rows=ROWS)
    added = json.loads((folder / "a.json").read_text())["added_tokens"]
    assert [token["normalized"] for token in added] == [False, False, True]


def changed(file: str, **entries: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder / file, lambda content: {**content, **entries})


def replaced(file: str, old: str, new: str) -> Callable[[Path], None]:
    return lambda folder: (folder / file).write_text((folder / file).read_text().replace(old, new, 1)) and None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "vocab.json").unlink(), "vocab.json"),
        (lambda folder: (folder / "merges.txt").unlink(), "merges.txt"),
        (lambda folder: (folder / "tokenizer_config.json").unlink(), "model_max_length"),
        (changed("tokenizer_config.json", tokenizer_class="T5Tokenizer"), "T5Tokenizer"),
        (changed("tokenizer_config.json", model_max_length=10**30), "model_max_length"),
        (changed("vocab.json", extra=714), "ids from 0 to 713"),
        (changed("vocab.json", extra=True), "ids from 0 to 713"),
        (changed("vocab.json", extra=5), "two tokens of one id"),
        (changed("special_tokens_map.json", pad_token="<pad>"), "pad_token '<pad>'"),
        (changed("special_tokens_map.json", bos_token={"content": ["a"]}), "bos_token"),
        (changed("special_tokens_map.json", additional_special_tokens=["<cat-toy>"]), "<cat-toy>"),
        (replaced("merges.txt", "#version", "version"), "#version"),
        (replaced("merges.txt", "e r</w>", "e r</w> x"), "the merge"),
        (replaced("merges.txt", "e r</w>", "e zzz"), "the merge"),
        (lambda folder: (folder / "merges.txt").write_bytes(b"#version\n\xff"), "UTF-8"),
        (lambda folder: (folder / "vocab.json").write_text('{"a": 1, "a": 2}'), "twice"),
        (lambda folder: (folder / "vocab.json").write_text("[]"), "list"),
    ],
)
def test_other_folders_are_refused(folder: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(folder)
    with pytest.raises(CheckpointError) as caught:
        write_tokenizer(folder, folder / "a.json", rows=ROWS)
    assert message in str(caught.value)
    assert not list(folder.glob("*a.json*"))
