"""Every field of a key counts, and is named where it differs."""

from __future__ import annotations

import msgspec
import pytest

from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.engine_cache.key import TOLD, EngineKey, Gpu, Here, difference, key_of, slot_of
from lqhq.runtime.engine_spec import EngineSpec, Profile, Range
from lqhq.runtime.errors import EngineError

replace = msgspec.structs.replace
SIDE = Range(64, 64, 64)
PROFILE = Profile(batch=Range(1, 1, 4), height=SIDE, width=SIDE)
TUNED = replace(PROFILE, batch=Range(1, 4, 4))
L4 = Gpu(name="NVIDIA L4", sm="sm89")
OTHERS = {
    "bundle": ("tiny", "of bundle demo, this is tiny"),
    "role": ("decode", "of role denoise, this is decode"),
    "precision": ("bf16", "in fp16, asked for bf16"),
    "flavour": ("tensorrt", "built by tensorrt-rtx, this is tensorrt"),
    "graph": ("cd" * 32, "built from graph abababababab, this is cdcdcdcdcdcd"),
    "profiles": ((PROFILE, PROFILE), "for profiles 64x64@1-4, asked for 64x64@1-4, 64x64@1-4"),
    "targets": (("sm120",), "for sm86, sm89, asked for sm120"),
    "gpu": (L4, "for no one GPU, this is NVIDIA L4 (sm89)"),
    "version": ("1.6.0", "built by tensorrt-rtx 1.7.1.116, this is 1.6.0"),
    "builder": (2, "built with settings 1, this has 2"),
    "platform": ("linux-aarch64", "for linux-x86_64, this is linux-aarch64"),
    "driver": ("570", "for driver unknown, this is 570"),
}
SLOT_FIELDS = {"bundle", "role", "precision", "flavour", "graph", "profiles", "targets", "gpu"}


def test_every_field_is_told():
    assert set(TOLD) == set(EngineKey.__struct_fields__) == set(OTHERS)


@pytest.mark.parametrize("name", OTHERS)
def test_a_different_field_is_named_with_both_values(key, name):
    value, told = OTHERS[name]
    other = replace(key, **{name: value})
    assert difference(key, other) == told
    assert difference(key, replace(key)) is None
    assert (slot_of(other) != slot_of(key)) == (name in SLOT_FIELDS)


def test_planted_fault_a_field_that_is_forgotten_still_differs(key, monkeypatch):
    monkeypatch.delitem(TOLD, "driver")
    assert difference(key, replace(key, driver="570")) is not None


def test_profiles_that_look_alike_are_told_apart(key):
    assert difference(key, replace(key, profiles=(TUNED,))) == (
        "for profiles 64x64@1-4 tuned for 64x64@1, asked for 64x64@1-4 tuned for 64x64@4"
    )


def test_many_profiles_are_cut(key):
    told = difference(key, replace(key, profiles=(PROFILE,) * 9))
    assert told.endswith("64x64@1-4, ...")


def request_key(here: Here, **spec: object) -> EngineKey:
    given = {"flavour": "tensorrt-rtx", "targets": ("sm89", "sm86", "sm120", "sm86"), "profiles": (PROFILE,), **spec}
    return key_of(open_bundle("demo").graph("denoise", "fp32"), EngineSpec(**given), here)


def test_the_key_of_a_request():
    here = Here(versions={"tensorrt-rtx": "1.7", "tensorrt": "11.4"}, platform="linux-x86_64")
    key = request_key(here)
    assert (key.targets, key.gpu, key.driver, key.version) == (("sm86", "sm89", "sm120"), None, None, "1.7")
    assert slot_of(key).startswith("demo.denoise.fp32.tensorrt-rtx.")
    assert slot_of(key) == slot_of(request_key(here, targets=("sm120", "sm86", "sm89")))
    graph = open_bundle("demo").graph("denoise", "fp32")
    assert key.graph == graph.digest


def test_the_gpu_that_is_here():
    """Full TensorRT builds for one model under one driver; a TensorRT-RTX engine suits all GPUs of a capability."""
    here = Here(versions={"tensorrt-rtx": "1.7", "tensorrt": "11.4"}, gpu=L4, driver="570.86.15")
    rtx = request_key(here, targets=())
    assert (rtx.targets, rtx.gpu, rtx.driver) == (("sm89",), None, None)
    full = request_key(here, flavour="tensorrt", targets=())
    assert (full.targets, full.gpu, full.driver) == ((), L4, "570")


def test_what_cannot_be_keyed_is_refused():
    with pytest.raises(EngineError, match="not installed here"):
        request_key(Here(versions={"tensorrt": "11.4"}))
    with pytest.raises(EngineError, match="no GPU and no targets"):
        request_key(Here(versions={"tensorrt-rtx": "1.7"}), targets=())


def test_the_platform_is_filled_in():
    assert Here(versions={}).platform == "linux-x86_64" or "-" in Here(versions={}).platform
