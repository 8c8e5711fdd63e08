"""The arena that sessions leave to one another: used by those that take turns, empty after it is given back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from lqhq.runtime.engines import release_shared
from lqhq.runtime.engines.onnx import OnnxSession
from lqhq.runtime.engines.onnx_arena import ONE_NODE
from lqhq.runtime.errors import EngineError

WIDE = 1 << 23  # values; 32 MiB, far above what else moves in a process
# In a process of its own: what others hold would hide it. Prints resident pages' bytes at three moments.
HELD = """
import sys
from pathlib import Path
import numpy as np
from lqhq.runtime.engines import release_shared
from lqhq.runtime.engines.onnx import OnnxSession
from lqhq.runtime.machine import give_back

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

x = np.ones((1, int(sys.argv[2])), np.float32)
found = [resident()]
for _ in range(3):
    with OnnxSession(Path(sys.argv[1]), threads=1, turns=True) as session:
        session.run({"x": x})
    found.append(resident())
release_shared()
give_back()
print(*found, resident())
"""


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """`y = |exp(x) + x|` of any width: values in between take memory."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", "W"]) for name in ("x", "y"))
    nodes = [
        helper.make_node("Exp", ["x"], ["e"]),
        helper.make_node("Add", ["e", "x"], ["s"]),
        helper.make_node("Abs", ["s"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "chain", [x], [y])
    file = tmp_path / "chain.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), file)
    return file


def test_the_one_node_is_what_its_comment_says() -> None:
    model = onnx.load_from_string(ONE_NODE)
    onnx.checker.check_model(model, full_check=True)
    (node,) = model.graph.node
    assert (node.op_type, list(node.input), list(node.output)) == ("Identity", ["x"], ["y"])


def test_values_are_those_of_a_session_of_its_own(chain: Path) -> None:
    x = np.linspace(-2, 2, 1000, dtype=np.float32)[None]
    with OnnxSession(chain, threads=1) as alone, OnnxSession(chain, threads=1, turns=True) as shared:
        wanted, found = alone.run({"x": x})["y"], shared.run({"x": x})["y"]
    release_shared()
    assert np.array_equal(found, wanted)  # also after its memory was given back: what is held is kept


def test_memory_stays_between_sessions_and_goes_when_it_is_given_back(chain: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELD, str(chain), str(WIDE)], capture_output=True, text=True, check=True
    )
    before, first, _, third, after = map(int, done.stdout.split())
    one = 4 * WIDE
    assert first > before + one  # the session is closed, its memory is still there
    assert third < first + one  # the next ones took the same
    assert after < before + one


def test_giving_back_where_no_session_takes_turns_needs_no_onnx_runtime() -> None:
    code = "import sys, lqhq.runtime.engines as e; e.release_shared(); sys.exit('onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_broken_graph_is_told_as_ever(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no graph")
    with pytest.raises(EngineError):
        OnnxSession(tmp_path / "x.onnx", threads=1, turns=True)
