"""What is listed, and what is said of each engine's use here."""

from __future__ import annotations

from dataclasses import replace as changed

import msgspec
import pytest

from lqhq.runtime.engine_cache.key import Gpu, Here
from lqhq.runtime.engine_cache.listing import flavours_in, list_engines
from lqhq.runtime.errors import EngineError

replace = msgspec.structs.replace
L4, H100 = Gpu(name="NVIDIA L4", sm="sm89"), Gpu(name="NVIDIA H100", sm="sm90")
HERE = Here(
    versions={"tensorrt-rtx": "1.7.1.116", "tensorrt": "11.4.0.106"},
    platform="linux-x86_64",
    gpu=L4,
    driver="570.86.15",
)


def faults(cache, here=HERE):
    return [one.fault for one in list_engines(cache.folder, here, verified=cache.memory)]


def test_every_engine_is_listed(cache, key, full):
    made = [cache.obtain(each).record for each in (key, full(), replace(key, role="decode"))]
    listed = list_engines(cache.folder, HERE, verified=cache.memory)
    assert [one.record for one in listed] == sorted(made, key=lambda record: record.file)
    assert [one.fault for one in listed] == [None] * 3
    assert {one.bytes for one in listed} == {len(cache.data)}
    assert flavours_in(cache.folder) == {"tensorrt", "tensorrt-rtx"}


@pytest.mark.parametrize(
    ("here", "told"),
    [
        ({"versions": {}}, "tensorrt-rtx is not installed here"),
        ({"versions": {"tensorrt-rtx": "1.8"}}, "built by tensorrt-rtx 1.7.1.116, this is 1.8"),
        ({"gpu": H100}, "for sm86, sm89, this GPU is sm90"),
        ({"gpu": None}, None),  # nobody knows where it will run
        ({"driver": "580"}, None),
        ({"builder": 2}, "built with settings 1, this has 2"),
    ],
)
def test_portable_engines(cache, key, here, told):
    cache.obtain(key)
    assert faults(cache, changed(HERE, **here)) == [told]


@pytest.mark.parametrize(
    ("here", "told"),
    [
        ({"gpu": H100}, "for NVIDIA L4 (sm89), this is NVIDIA H100 (sm90)"),
        ({"gpu": None}, "for NVIDIA L4 (sm89), this is no GPU"),
        ({"driver": "580.1"}, "for driver 570, this is 580"),
        ({"driver": "570.99"}, None),
    ],
)
def test_engines_of_one_gpu(cache, full, here, told):
    cache.obtain(full())
    assert faults(cache, changed(HERE, **here)) == [told]


def test_broken_ones_are_listed_with_the_reason(cache, key):
    cache.obtain(key)
    engine = cache.path(".engine")
    engine.write_bytes(b"x")
    assert faults(cache) == ["engine file has 1 bytes, its record says 24: truncated"]
    record = cache.path(".json")
    copied = record.with_name(record.name.replace("fp16", "fp32"))
    copied.write_bytes(record.read_bytes())
    assert "its record is one of another request, put under this name" in faults(cache)
    copied.unlink()
    record.unlink()
    assert faults(cache) == [f"no record beside {engine.name}: foreign"]
    engine.unlink()
    assert faults(cache) == []  # a lock alone is no engine


def test_no_folder_and_no_home(cache, monkeypatch):
    assert faults(cache) == []
    assert flavours_in(cache.folder) == set()

    def homeless(_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.expanduser", homeless)
    with pytest.raises(EngineError, match="no home folder"):
        faults(cache)


def test_planted_fault_an_engine_for_another_gpu_is_noticed(cache, key, monkeypatch):
    monkeypatch.setattr("lqhq.runtime.engine_cache.listing.unusable", lambda *_: None)
    with pytest.raises(AssertionError):
        test_portable_engines(cache, key, {"gpu": H100}, "for sm86, sm89, this GPU is sm90")
