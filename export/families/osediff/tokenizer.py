"""CLIP's tokenizer from a pipeline's `tokenizer/` folder into one file that the library `tokenizers` reads.

The file says what transformers' fast CLIP tokenizer does (which the original takes, by AutoTokenizer); its older,
slow one differs in apostrophes and accents.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lqhq.export.config_file import read_json_object
from lqhq.export.foreign_text import printable
from lqhq.runtime.clip_reading import READING
from lqhq.runtime.errors import BundleError, CheckpointError
from lqhq.runtime.strict_json import plain_json

__all__ = ["TokenizerFile", "write_tokenizer"]

CLASSES = ("CLIPTokenizer", "CLIPTokenizerFast")
MAX_BYTES = 8 << 20  # of vocab.json or merges.txt; CLIP's take 1 and 0.5 MB
MAX_LENGTH = 1024
# By name of the role: what CLIP's tokenizer takes where the folder is silent. Where two roles share a token, the last
# says how it is matched.
SPECIAL = {
    "bos_token": "<|startoftext|>",
    "eos_token": "<|endoftext|>",
    "unk_token": "<|endoftext|>",
    "pad_token": "<|endoftext|>",
}
MORE = ("additional_special_tokens", "extra_special_tokens")
FLAGS = ("single_word", "lstrip", "rstrip", "normalized")
END_OF_WORD = "</w>"


class TokenizerFile(NamedTuple):
    """What was written: tokens per prompt, and the id that fills a short one up."""

    length: int
    pad: int


class Special(NamedTuple):
    """A special token: its id, and how it is looked for in a text."""

    content: str
    id: int
    flags: Mapping[str, bool]


def write_tokenizer(folder: Path, target: Path, *, rows: int) -> TokenizerFile:
    """Write the tokenizer of `folder` (vocab.json, merges.txt, and what says the special tokens) to `target`.

    rows: of the text encoder's embedding; every id must be one. Raises `CheckpointError` for files that are missing,
    contradict each other, or are of another tokenizer than CLIP's.
    """
    config = _optional_object(folder / "tokenizer_config.json")
    if config.get("tokenizer_class", CLASSES[0]) not in CLASSES:
        found = printable(str(config["tokenizer_class"]))
        raise _fault(folder / "tokenizer_config.json", f"tokenizer_class {found}", CLASSES[0])
    vocabulary = _vocabulary(folder / "vocab.json", rows)
    merges = _merges(folder / "merges.txt", vocabulary)
    special = _special_tokens(folder, config, vocabulary)
    length = config.get("model_max_length")
    if not isinstance(length, int) or not 2 <= length <= MAX_LENGTH:
        raise _fault(folder / "tokenizer_config.json", f"model_max_length {length!r}", f"2 to {MAX_LENGTH}")
    document = _document(vocabulary, merges, special, length)
    _write(target, json.dumps(document, ensure_ascii=False, separators=(",", ":")))
    return TokenizerFile(length=length, pad=special["pad_token"].id)


def _vocabulary(file: Path, rows: int) -> dict[str, int]:
    try:
        found = plain_json(_read(file), str(file))
    except BundleError as error:
        raise _fault(file, error.found, error.expected) from error
    if not isinstance(found, dict) or not found:
        raise _fault(file, type(found).__name__, "an object of tokens and ids")
    for token, number in found.items():
        if type(number) is not int or not 0 <= number < rows:
            raise _fault(
                file, f"{printable(token)!r}: {number!r:.40}", f"ids from 0 to {rows - 1}, as the text encoder"
            )
    if len(set(found.values())) != len(found):
        raise _fault(file, "two tokens of one id", "an id for each")
    return found


def _merges(file: Path, vocabulary: Mapping[str, int]) -> list[str]:
    try:
        lines = _read(file).decode().replace("\r\n", "\n").strip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise _fault(file, "bytes that are not UTF-8", "text") from error
    if not lines[0].startswith("#version"):
        raise _fault(file, f"a first line {printable(lines[0])!r}", "#version: 0.2, then a merge in each line")
    for line in lines[1:]:
        parts = line.split(" ")
        if len(parts) != 2 or not {*parts, "".join(parts)} <= vocabulary.keys():
            raise _fault(file, f"the merge {printable(line)!r}", "two tokens of vocab.json that make a third")
    return lines[1:]


def _special_tokens(folder: Path, config: Mapping[str, Any], vocabulary: Mapping[str, int]) -> dict[str, Special]:
    """By role. special_tokens_map.json goes before tokenizer_config.json, as with transformers."""
    stored = {**config, **_optional_object(folder / "special_tokens_map.json")}
    listed = config.get("added_tokens_decoder", {})
    listed = {entry.get("content"): entry for entry in listed.values() if isinstance(entry, dict)}
    special = {}
    for name, default in SPECIAL.items():
        entry = stored.get(name) or default
        content = entry.get("content") if isinstance(entry, dict) else entry
        if not isinstance(content, str) or content not in vocabulary:
            raise _fault(folder, f"{name} {printable(str(content))!r}", "a token of vocab.json")
        flags = entry if isinstance(entry, dict) else listed.get(content, {})
        special[name] = Special(content, vocabulary[content], {flag: bool(flags.get(flag, False)) for flag in FLAGS})
    beside = _optional_object(folder / "added_tokens.json")
    more = {*listed, *beside, *(str(token) for name in MORE for token in stored.get(name) or ())}
    if foreign := sorted(map(str, more - {token.content for token in special.values()})):
        raise _fault(folder, f"a token {printable(foreign[0])!r} besides the special ones", "CLIP's tokenizer as it is")
    return special


def _document(
    vocabulary: Mapping[str, int], merges: list[str], special: Mapping[str, Special], length: int
) -> dict[str, Any]:
    """The file's content, in the form that `tokenizers` itself would write."""
    first, last, fill = special["bos_token"], special["eos_token"], special["pad_token"]
    added = {token.id: {"content": token.content, **token.flags, "special": True} for token in special.values()}
    return {
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": length, "strategy": "LongestFirst", "stride": 0},
        "padding": {
            "strategy": {"Fixed": length},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": fill.id,
            "pad_type_id": 0,
            "pad_token": fill.content,
        },
        "added_tokens": [{"id": number, **added[number]} for number in sorted(added)],
        **READING,
        "post_processor": {
            "type": "RobertaProcessing",
            "sep": [last.content, last.id],
            "cls": [first.content, first.id],
            "trim_offsets": False,
            "add_prefix_space": False,
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": special["unk_token"].content,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": END_OF_WORD,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": dict(vocabulary),
            "merges": merges,
        },
    }


def _optional_object(file: Path) -> dict[str, Any]:
    return read_json_object(file) if os.path.exists(file) else {}


def _read(file: Path) -> bytes:
    try:
        if os.path.exists(file) and not os.path.isfile(file):  # reading a pipe may never end
            raise _fault(file, "no regular file", "a regular file")
        if (size := file.stat().st_size) > MAX_BYTES:
            raise _fault(file, f"{size} bytes", f"at most {MAX_BYTES}")
        return file.read_bytes()
    except OSError as error:
        raise _fault(file, error.strerror or str(error), "a readable file") from error


def _write(target: Path, text: str) -> None:
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="")
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _fault(where: Path, found: str, expected: str) -> CheckpointError:
    return CheckpointError(
        str(where), found=found, expected=expected, mend="Give the tokenizer/ folder of the base model as published."
    )
