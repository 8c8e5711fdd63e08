"""PyTorch's contender does lqhq's job: same weights, same tiles, same pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from contenders.torch_demo import network_from_graph, restore_image
from measuring.scene import scene

from lqhq.export.families.indi.film_resnet import FilmResNet
from lqhq.runtime.geometry import Size
from lqhq.runtime.tiles import plan_tiles

SEED = 7


def written(network: torch.nn.Module, path: Path, prefix: str) -> Path:
    """A file with the network's initialisers and no nodes: all that the loader looks at."""
    import onnx
    from onnx import helper, numpy_helper

    tensors = [numpy_helper.from_array(v.numpy(), prefix + name) for name, v in network.state_dict().items()]
    onnx.save(helper.make_model(helper.make_graph([], "g", [], [], tensors)), path)
    return path


@pytest.fixture
def network() -> FilmResNet:
    torch.manual_seed(SEED)
    return FilmResNet(width=8, blocks=2, time_width=6, fold=2).eval()


@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_come_from_the_graph(network: FilmResNet, tmp_path: Path, prefix: str) -> None:
    loaded = network_from_graph(written(network, tmp_path / "g.onnx", prefix))
    assert loaded.state_dict().keys() == network.state_dict().keys()
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


def test_a_missing_weight_is_refused(network: FilmResNet, tmp_path: Path) -> None:
    del network.join.bias
    with pytest.raises(RuntimeError, match=r"join\.bias"):
        network_from_graph(written(network, tmp_path / "g.onnx", ""))


def test_tiles_give_the_whole_image_where_the_network_is_local() -> None:
    image = scene(24, 32)
    plan = plan_tiles(Size(48, 64), Size(32, 32), overlap=8, multiple=4)
    one = plan_tiles(Size(48, 64), Size(48, 64), overlap=0, multiple=4)

    def negative(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        assert t.tolist() == [1.0]
        return -x

    tiled = restore_image(negative, image, plan, torch.channels_last, 2)
    whole = restore_image(negative, image, one, torch.contiguous_format, 2)
    assert tiled.shape == (48, 64, 3)
    assert tiled.dtype == np.uint8
    assert np.abs(tiled.astype(int) - whole).max() <= 1  # the sum of two weights rounds
    assert np.abs(tiled.astype(int) - (255 - whole.astype(int))).max() > 50  # and it is not the identity
