"""The flags that `lqhq upscale` and `lqhq client restore` share."""

from __future__ import annotations

import argparse
import inspect
from typing import get_type_hints

import pytest

from lqhq.runtime.restorer import Restorer
from lqhq.server.client.question import Asking
from lqhq.tools.cli.restore_flags import OPTIONS, add_batch_flags, add_restore_flags


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_batch_flags(parser)
    add_restore_flags(parser)
    return parser.parse_args(words)


def test_every_option_is_a_flag_and_goes_both_ways() -> None:
    args = parsed("a.png", "-o", "b.png")
    assert set(OPTIONS) <= set(vars(args))
    assert set(OPTIONS) <= set(inspect.signature(Restorer.restore).parameters)
    assert set(OPTIONS) <= set(get_type_hints(Asking))


def test_values() -> None:
    args = parsed("a.png", "-o", "b.png", "--seed", str(2**64 - 1), "--tile", "64", "--rules", "original", "--resume")
    assert (args.seed, args.tile, args.rules, args.resume, args.json) == (2**64 - 1, 64, "original", True, False)
    for wrong in (["--seed", "-1"], ["--tile", "0"], ["--blend", "soft"], ["--overlap", "1.5"]):
        with pytest.raises(SystemExit):
            parsed("a.png", "-o", "b.png", *wrong)
