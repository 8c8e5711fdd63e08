"""Memory that ONNX Runtime's sessions on the CPU share when they follow one another.

A session's own arena goes when the session does, and the next one has the kernel clear the same pages again: dozens of
small graphs over a large image spend a tenth of their time so. Here one arena outlives them, until it is given back.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnxruntime as ort

__all__ = ["ONE_NODE", "release_arena", "share_arena"]

SAME_AS_REQUESTED = 1
# ONNX Runtime gives unused memory back at the end of a run alone. A graph of one node, `y = Identity(x)`, float32 [1].
ONE_NODE = (
    b"\x08\x08:7\n\x10\n\x01x\x12\x01y\x22\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01"
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)


def share_arena(options: Any) -> None:
    """Let the session of these `SessionOptions` take its memory from the shared arena.

    Its threads wait for the next operator awake, but not for long: between runs, strips are copied and measured.
    """
    _registered()
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.add_session_config_entry("session.intra_op.spin_duration_us", "100")


def release_arena() -> None:
    """Give back what no session uses; arrays that came from one keep theirs."""
    if not _registered.cache_info().currsize:
        return
    options, last = ort.SessionOptions(), ort.RunOptions()
    options.intra_op_num_threads = 1
    share_arena(options)
    last.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    session: Any = ort.InferenceSession(ONE_NODE, options, providers=["CPUExecutionProvider"])
    binding, one = session.io_binding(), ort.OrtValue.ortvalue_from_numpy(np.zeros(1, np.float32))
    binding.bind_ortvalue_input("x", one)
    binding.bind_ortvalue_output("y", one)  # a result of its own would lie in the arena, and hold a piece of it
    session.run_with_iobinding(binding, last)


@cache
def _registered() -> None:
    """The arena is there once for the whole process. It grows by what is asked for: doubled, its start would stay."""
    place = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(place, ort.OrtArenaCfg({"arena_extend_strategy": SAME_AS_REQUESTED}))
