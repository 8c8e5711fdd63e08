"""What a restoration is told in words: nothing, a prompt as it is, or the tags of the image and a prompt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.bundle import Bundle
from lqhq.runtime.errors import OptionError
from lqhq.runtime.latent_spec import Prompt
from lqhq.runtime.prompt import PromptTokenizer, prompt_text
from lqhq.runtime.tags import Tags

__all__ = ["Asked", "Words", "check_words"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the caller asked for: a prompt or none, and whether tags are read off the image."""

    prompt: str | None = None
    tagger: bool = False


def check_words(bundle: Bundle, asked: Asked) -> None:
    """Raise `OptionError` for what `bundle` does not take."""
    manifest = bundle.manifest
    baked = manifest.baked_prompt
    if not isinstance(asked.prompt, str | None):
        raise OptionError("prompt", found=type(asked.prompt).__name__, expected="a text", mend="Give a str, or None.")
    if asked.prompt is not None and manifest.prompt is None:
        raise OptionError(
            "prompt",
            found=repr(asked.prompt[:80]),
            expected="none: this bundle's prompt was fixed at export"
            + (f", {baked[:80]!r}" if baked is not None else "")
            if manifest.latent
            else f"none: {manifest.name!r} takes no prompt",
            mend="Leave it out, or export without --prompt." if manifest.latent else "Leave it out.",
        )
    if asked.tagger and manifest.tagger is None:
        raise OptionError(
            "tagger",
            found="a request for tags",
            expected=f"a bundle with a graph for tag; {manifest.name!r} has none",
            mend="Leave it out, or export again with --ram and --dape." if manifest.prompt else "Leave it out.",
        )


class Words:
    """Token ids for the images of an opened bundle that reads a prompt; the tokenizer is opened when first needed.

    `say` hears the text that was made of tags, and what of a text is too long to be read. Several threads may ask.
    """

    def __init__(self, bundle: Bundle, say: Callable[[str], None]) -> None:
        self._bundle, self._say = bundle, say
        self._opening = Lock()
        self._tokenizer: PromptTokenizer | None = None
        self._tags: Tags | None = None

    def ids(self, asked: Asked, logits: NDArray[np.float32] | None) -> NDArray[np.int64]:
        """`[1, length]` int64; `logits` `[K]` are those of the role `tag`, where tags were asked for."""
        spec = self._bundle.manifest.prompt
        assert spec is not None  # whoever has words to read has looked
        if not asked.tagger and asked.prompt is None:
            return np.array([spec.empty], np.int64)
        text = asked.prompt or ""
        if asked.tagger:
            assert logits is not None  # the role `tag` has run
            text = prompt_text(spec, self._opened_tags().chosen(logits), text)
            self._say(f"prompt: {text}")
        found = self._opened_tokenizer(spec).ids(text)
        if found.cut:
            self._say(f"prompt: {found.cut} tokens too long for the {spec.length} that are read: {found.kept_text!r}")
        return found.ids

    def open(self, asked: Asked) -> None:
        """Open what `asked` needs. Raises as `ids` does, but for no image yet."""
        spec = self._bundle.manifest.prompt
        if spec is None or (asked.prompt is None and not asked.tagger):
            return
        PromptTokenizer.check(asked.prompt or "")
        self._opened_tokenizer(spec)
        if asked.tagger:
            self._opened_tags()

    def _opened_tokenizer(self, spec: Prompt) -> PromptTokenizer:
        with self._opening:
            if self._tokenizer is None:
                self._tokenizer = PromptTokenizer.open(self._bundle.path(spec.tokenizer), spec)
            return self._tokenizer

    def _opened_tags(self) -> Tags:
        tagger = self._bundle.manifest.tagger
        assert tagger is not None  # `check_words` has refused the others
        with self._opening:
            if self._tags is None:
                self._tags = Tags.read(self._bundle.path(tagger.names), self._bundle.path(tagger.thresholds))
            return self._tags
