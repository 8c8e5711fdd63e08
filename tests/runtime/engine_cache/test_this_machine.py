"""What this machine says of itself: only what is there."""

from __future__ import annotations

import re

from lqhq.runtime.engine_cache import this_machine as module
from lqhq.runtime.engine_cache.key import Gpu
from lqhq.runtime.engine_cache.this_machine import this_machine
from lqhq.runtime.errors import EngineError
from lqhq.runtime.nvidia import Nvidia, NvidiaGpu

GPUS = (NvidiaGpu("NVIDIA L4", (8, 9), 24 << 30), NvidiaGpu("NVIDIA B200", (10, 0), 180 << 30))


def test_the_gpu_and_its_driver():
    found = Nvidia("570.86.15", GPUS)
    assert this_machine((), nvidia=found).gpu == Gpu(name="NVIDIA L4", sm="sm89")
    assert this_machine((), ordinal=1, nvidia=found).gpu == Gpu(name="NVIDIA B200", sm="sm100")
    assert this_machine((), ordinal=2, nvidia=found).gpu is None
    assert this_machine((), nvidia=found).driver == "570.86.15"
    none = this_machine((), nvidia=Nvidia(fault="no NVIDIA driver"))
    assert (none.gpu, none.driver, dict(none.versions)) == (None, None, {})


def test_what_is_not_installed_is_left_out(monkeypatch):
    def load(name):
        if name == "tensorrt":
            raise EngineError("engine tensorrt", found="not installed", expected="it", mend="")
        return type("Loaded", (), {"version": "1.7.1.116"})

    monkeypatch.setattr(module, "load_flavour", load)
    assert this_machine(("tensorrt", "tensorrt-rtx")).versions == {"tensorrt-rtx": "1.7.1.116"}


def test_the_real_one_answers():
    here = this_machine(("tensorrt", "tensorrt-rtx"))
    assert all(re.fullmatch(r"[0-9.]+", version) for version in here.versions.values())
    assert (here.gpu is None) or here.driver is not None
