"""A prompt becomes token ids: the text from its template, the ids from the bundle's tokenizer file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.clip_reading import READING
from lqhq.runtime.errors import BundleError, EngineError, OptionError
from lqhq.runtime.latent_spec import Prompt

__all__ = ["MAX_CHARACTERS", "PromptTokenizer", "Tokens", "prompt_text"]

KINDS = {"post_processor": "RobertaProcessing", "model": "BPE"}
MAX_BYTES = 16 << 20  # CLIP's vocabulary and merges take 3 MB
MAX_CHARACTERS = 1 << 16  # of a prompt; the 77 tokens of CLIP are some 300
FIELD = re.compile(r"\{(tags|words)\}")
INSTALL = "Install it: pip install 'lqhq[prompt]'"
AGAIN = "Get an undamaged copy of the bundle, or export the checkpoint again."


def prompt_text(prompt: Prompt, tags: Sequence[str], words: str) -> str:
    """`prompt.template` with the tags, joined by ", ", for `{tags}` and the user's words for `{words}`.

    Nothing else in braces is looked at, in the template or in what is put into it.
    """
    fields = {"tags": ", ".join(tags), "words": words}
    return FIELD.sub(lambda match: fields[match[1]], prompt.template)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Token ids int64 `[1, length]`, how many tokens of the text found no place, and the text that did."""

    ids: NDArray[np.int64]
    cut: int
    kept_text: str


class PromptTokenizer:
    """An opened tokenizer; see `open`."""

    def __init__(self, tokenizer: Any, prompt: Prompt) -> None:
        self._tokenizer, self._where, self._length = tokenizer, prompt.tokenizer, prompt.length

    @classmethod
    def open(cls, path: Path, prompt: Prompt) -> Self:
        """The tokenizer at `path`, a file of the library `tokenizers`, as `prompt` describes it.

        Raises `EngineError` where the library is missing, `BundleError` for a file that is no tokenizer, or that does
        not cut and fill to `prompt.length`.
        """
        tokenizer = _opened(path, prompt.tokenizer)
        wanted = {"max_length": prompt.length, "length": prompt.length, "pad_to_multiple_of": None, "stride": 0}
        found = {**(tokenizer.truncation or {}), **(tokenizer.padding or {})}
        # Before anything is filled up: a hostile file's padding would take all memory.
        if wrong := [f"{key} {found.get(key)}" for key, value in wanted.items() if found.get(key, "none") != value]:
            raise _fault(prompt.tokenizer, ", ".join(wrong), f"cutting and filling to {prompt.length} tokens")
        return cls(tokenizer, prompt)

    @staticmethod
    def check(text: str) -> None:
        """Raise `OptionError` for text that is no Unicode or above `MAX_CHARACTERS`."""
        _check_text(text)

    def ids(self, text: str) -> Tokens:
        """`text` with the first and last token, filled up. Too long a text is cut, as the models' own programs do.

        Raises `OptionError` for text that is no Unicode or above `MAX_CHARACTERS`, `BundleError` for impossible ids.
        """
        _check_text(text)
        found = _asked(self._where, self._tokenizer.encode, text)
        ids = np.asarray(found.ids, np.int64).reshape(1, -1)
        if ids.shape[1] != self._length:
            raise _fault(self._where, f"{ids.shape[1]} ids for a text", f"{self._length}")
        cut = sum(len(_own(part)) for part in found.overflowing)
        end = max((stop for _, stop in _own(found)), default=0)
        return Tokens(ids=ids, cut=cut, kept_text=text[:end] if cut else text)


def _own(found: Any) -> list[tuple[int, int]]:
    """Places in the text of the tokens that come from it."""
    return [place for place, special in zip(found.offsets, found.special_tokens_mask, strict=True) if not special]


def _opened(path: Path, where: str) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        missing = error.name == "tokenizers"
        raise EngineError(
            "prompt",
            found="the package tokenizers not installed" if missing else f"a broken package tokenizers: {error}",
            expected="it, to read a prompt",
            mend=f"{INSTALL}, or upscale without --prompt and --tagger.",
        ) from error
    text = _text(path, where)
    _check_reading(where, text)
    return _asked(where, Tokenizer.from_str, text)


def _check_reading(where: str, text: str) -> None:
    """The file reads a text as CLIP's does, and in no other way."""
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _fault(where, str(error)[:200], "JSON") from error
    parts = found if isinstance(found, dict) else {}
    kinds = [part.get("type") if isinstance(part, dict) else None for part in map(parts.get, KINDS)]
    if any(parts.get(name) != wanted for name, wanted in READING.items()) or kinds != list(KINDS.values()):
        raise _fault(where, "another way of reading a text", "that of CLIP, as export writes it")


def _asked(where: str, ask: Callable[[str], Any], text: str) -> Any:
    """`ask(text)` of the library. Raises `BundleError` for whatever it stumbles over in the file."""
    try:
        return ask(text)
    except BaseException as error:
        # It raises no narrower class than Exception, and where its Rust code panics, one that is not even that.
        if not isinstance(error, Exception) and type(error).__module__ != "pyo3_runtime":
            raise
        found = (str(error).splitlines() or [""])[0][:200]
        raise _fault(where, found, "a file of the library tokenizers") from error


def _text(path: Path, where: str) -> str:
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise _fault(where, f"{size} bytes", f"at most {MAX_BYTES}")
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise _fault(where, "bytes that are not UTF-8", "JSON text") from error
    except OSError as error:
        raise _fault(where, error.strerror or str(error), "a readable file") from error


def _check_text(text: str) -> None:
    if len(text) > MAX_CHARACTERS:
        raise OptionError(
            "prompt",
            found=f"{len(text)} characters",
            expected=f"at most {MAX_CHARACTERS}",
            mend="Shorten it; all but the first few hundred would be cut anyway.",
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise OptionError(
            "prompt",
            found=f"half a character at position {error.start}",
            expected="Unicode text",
            mend="Give it as UTF-8.",
        ) from error


def _fault(where: str, found: str, expected: str) -> BundleError:
    return BundleError(where, found=found, expected=expected, mend=AGAIN)
