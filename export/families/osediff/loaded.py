"""All that an OSEDiff bundle is made of, loaded: the merged model, its tokenizer's words, a prompt, a tagger."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lqhq.export.families.osediff.network import OseDiff, load_osediff
from lqhq.export.families.osediff.ram import Ram
from lqhq.export.families.osediff.ram_weights import load_ram
from lqhq.export.families.osediff.tag_files import TagLists, read_tag_files
from lqhq.export.families.osediff.tokenizer import write_tokenizer
from lqhq.export.settings import Settings
from lqhq.runtime import manifest as m
from lqhq.runtime.errors import CheckpointError, OptionError
from lqhq.runtime.prompt import PromptTokenizer, prompt_text

__all__ = ["TOKENIZER", "Loaded", "load"]

TOKENIZER = "assets/tokenizer.json"
TEMPLATE = "{tags}, {words},"  # the original program's; with neither, its prompt is ", ,"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagging:
    """The tagger and its lists."""

    ram: Ram
    lists: TagLists


class Loaded(nn.Module):
    """`empty` are the ids of no prompt at all; `cond` `[1, S, D]` is what goldens and parity are made with."""

    def __init__(
        self, model: OseDiff, prompt: m.Prompt, text: str | None, cond: Tensor, tagging: Tagging | None
    ) -> None:
        super().__init__()
        self.model, self.prompt, self.text, self.tagging = model, prompt, text, tagging
        self.ram = tagging.ram if tagging else None
        self.cond = cond
        self.sources: tuple[m.SourceFile, ...] = model.sources
        self.notes: tuple[str, ...] = model.notes


def load(adapter: Path, settings: Settings) -> Loaded:
    """Raises `CheckpointError` for files that are missing, damaged or of another model, `OptionError` for settings."""
    base = _required_base(settings)
    if settings.prompt is not None and settings.ram is not None:
        raise OptionError(
            "--prompt", found="it beside --ram", expected="one of the two: a fixed prompt has no tags", mend="Drop one."
        )
    if (settings.ram is None) != (settings.dape is None):
        raise OptionError(
            "--ram, --dape",
            found="one of the two",
            expected="both: OSEDiff was made with the tags of RAM as DAPE adapts it",
            mend="Give both, or neither; a bundle without them takes --prompt.",
        )
    model = load_osediff(adapter, base)
    prompt, ids = _prompt(model, settings.prompt)
    loaded = Loaded(model, prompt, settings.prompt, model.embed(torch.tensor([ids])), None)
    return loaded if settings.ram is None else _with_tagger(loaded, settings)


def _required_base(settings: Settings) -> Path:
    if settings.base is None:
        raise CheckpointError(
            "--base",
            found="nothing",
            expected="the diffusers folder of SD-2.1-base: the adapter holds what was trained, not the model",
            mend="Give --base DIR, with the folders unet, vae, text_encoder, tokenizer and scheduler in it.",
        )
    return Path(settings.base)


def _prompt(model: OseDiff, text: str | None) -> tuple[m.Prompt, tuple[int, ...]]:
    """How prompts are read, and the ids of `text`, or of none."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tokenizer.json"
        found = write_tokenizer(model.tokenizer, file, rows=model.text.shape.vocabulary)
        blank = m.Prompt(tokenizer=TOKENIZER, length=found.length, template=TEMPLATE, empty=(0,) * found.length)
        tokenizer = PromptTokenizer.open(file, blank)
        empty, own = (tokenizer.ids(one) for one in (prompt_text(blank, (), ""), text or ""))
    if found.length != model.text.shape.length:
        raise CheckpointError(
            str(model.tokenizer),
            found=f"model_max_length {found.length}",
            expected=f"{model.text.shape.length}, the positions of the text encoder",
            mend="Take the tokenizer and the text encoder from one base model.",
        )
    if text is not None and own.cut:
        raise OptionError(
            "--prompt",
            found=f"{own.cut} tokens too many",
            expected=f"at most {found.length}, the first and last included",
            mend=f"Shorten it; this much is read: {own.kept_text!r}",
        )
    prompt = m.Prompt(tokenizer=TOKENIZER, length=found.length, template=TEMPLATE, empty=tuple(map(int, empty.ids[0])))
    ids = empty if text is None else own
    return prompt, tuple(map(int, ids.ids[0]))


def _with_tagger(loaded: Loaded, settings: Settings) -> Loaded:
    assert settings.ram is not None  # `load` has looked
    assert settings.dape is not None
    ram = load_ram(Path(settings.ram), Path(settings.dape))
    names, thresholds = (None if one is None else Path(one) for one in (settings.tag_names, settings.tag_thresholds))
    lists = read_tag_files(Path(settings.ram), names, thresholds, ram.ram.tags)
    found = Loaded(loaded.model, loaded.prompt, None, loaded.cond, Tagging(ram=ram.ram, lists=lists))
    found.sources = (*loaded.sources, *ram.sources)
    found.notes = (*loaded.notes, *ram.notes)
    return found
