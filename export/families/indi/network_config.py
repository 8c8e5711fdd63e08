"""Checks that all of InDI's formats share: closed configs, three channels, no classes, and told against seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from lqhq.runtime.errors import CheckpointError

__all__ = ["NetworkConfig", "check_channels", "check_told", "need", "refuse_classes", "typed"]

CHANNELS = 3


class NetworkConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The network's part of a config file. None (or a missing key) means not given."""


Config = TypeVar("Config", bound=msgspec.Struct)


def typed(kind: type[Config], config: Mapping[str, Any], form: str) -> Config:
    """`config` as `kind`. Raises `CheckpointError` for unknown keys and wrong types."""
    try:
        return msgspec.convert(dict(config), kind)
    except msgspec.ValidationError as error:
        raise CheckpointError(
            f"config of format {form}",
            found=str(error),
            expected="its known keys with fitting values: " + ", ".join(kind.__struct_fields__),
            mend="Correct the key, or remove it from --config.",
        ) from error


def need(key: str, value: object, form: str) -> None:
    """Raise `CheckpointError` if a key that the weights cannot tell was not given."""
    if value is None:
        raise CheckpointError(
            f"config of format {form}: {key}",
            found="nothing",
            expected=f"{key}: the weights do not tell it, and a guess would give a wrong image",
            mend=f'Put "{key}" into the file given with --config, as in the training code.',
        )


def check_told(where: str, told: Mapping[str, tuple[object, object]]) -> None:
    """Compare what the config says (None: nothing) with what the weights show, key by key."""
    for key, (said, seen) in told.items():
        if said is not None and said != seen:
            raise CheckpointError(
                f"{where}: {key}",
                found=f"{said} in the config, but weights of {seen}",
                expected="a config that fits the weights",
                mend="Give the config that the checkpoint was trained with.",
            )


def check_channels(where: str, inputs: int, outputs: int) -> None:
    """InDI maps an image to an image: three channels in, three out."""
    if (inputs, outputs) == (CHANNELS, CHANNELS):
        return
    mend = "This network is not InDI's F(x_t, t)."
    if outputs == 2 * CHANNELS:
        mend = "Six outputs mean a learned variance (learn_sigma), which InDI does not have; it is a DDPM."
    elif inputs == 2 * CHANNELS:
        mend = "Six inputs mean a second, conditioning image; InDI takes the degraded image as its start only."
    raise CheckpointError(where, found=f"{inputs} channels in and {outputs} out", expected="3 in and 3 out", mend=mend)


def refuse_classes(where: str, conditioned: bool) -> None:
    """Raise `CheckpointError` for a network that wants a class besides x and t."""
    if conditioned:
        raise CheckpointError(
            where,
            found="a class-conditional network",
            expected="a network of x and t only",
            mend="Use a checkpoint trained without classes.",
        )
