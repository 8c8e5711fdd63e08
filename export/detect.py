"""Which format a checkpoint is in: exactly one must claim it, or the user is asked."""

from __future__ import annotations

from lqhq.export.family import Family, Format, Weights
from lqhq.export.state_dict import shown
from lqhq.runtime.errors import CheckpointError, OptionError

__all__ = ["detect"]

PREFIX_PARTS = 3  # wrappers nest at most this deep in the code bases that we know


def detect(family: Family, weights: Weights, asked: str | None = None) -> Format:
    """The one format of `family` that claims `weights`, or the `asked` one. Raises `CheckpointError`."""
    if asked is not None:
        return _named(family, asked)
    claimants = [form for form in family.formats if form.claims(weights)]
    if len(claimants) == 1:
        return claimants[0]
    names = ", ".join(form.name for form in claimants or family.formats)
    kind = weights.config.get("_class_name") or weights.config.get("format")
    seen = f"{len(weights.tensors)} tensors ({shown(weights.tensors)})" + (f" and a config of {kind}" if kind else "")
    raise CheckpointError(
        weights.where,
        found=seen + (f", claimed by {names}" if claimants else ", claimed by no format"),
        expected=f"one format of {family.name}: {names}",
        mend="Choose one with --format." if claimants else _hint(family, weights),
    )


def _named(family: Family, asked: str) -> Format:
    for form in family.formats:
        if form.name == asked:
            return form
    raise OptionError(
        "--format",
        found=repr(asked),
        expected=" or ".join(form.name for form in family.formats),
        mend="Choose one of these, or leave it out.",
    )


def _hint(family: Family, weights: Weights) -> str:
    """Prefixes under which some format would claim the rest."""
    prefixes = {
        ".".join(name.split(".")[:parts]) + "." for name in weights.tensors for parts in range(1, PREFIX_PARTS + 1)
    }
    found = []
    for prefix in sorted(prefixes):
        inner = {n.removeprefix(prefix): t for n, t in weights.tensors.items() if n.startswith(prefix)}
        inside = Weights(where=weights.where, tensors=inner, config={})
        found += [f'"{prefix}" ({form.name})' for form in family.formats if form.claims(inside)]
    if found:
        return f'Put "key_prefix" into --config: {" or ".join(found)}.'
    if len(family.formats) == 1:
        return f"This is no checkpoint of {family.name}; `lqhq export --help` lists the families."
    return (
        "If you are sure, choose one with --format; otherwise it is of another family (`lqhq export --help` lists "
        "them), or not supported."
    )
