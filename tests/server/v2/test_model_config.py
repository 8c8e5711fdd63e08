"""The configuration says what load generators look at, and agrees with the metadata."""

from __future__ import annotations

import pytest
from tritonclient.grpc import model_config_pb2

from lqhq.runtime.manifest import Manifest
from lqhq.server.v2.datatypes import DATATYPES
from lqhq.server.v2.metadata import model_metadata
from lqhq.server.v2.model_config import Serving, model_config

CPU = Serving(instances=1, gpus=(), priority_levels=3, default_priority=2, max_queue=64, batch_delay_s=0.002)
GPUS = Serving(instances=1, gpus=(0, 1), priority_levels=3, default_priority=2, max_queue=64, batch_delay_s=0.002)


def test_the_stock_client_reads_it(manifest: Manifest) -> None:
    ours = model_config("photos", [1, 2], manifest, CPU)
    config = model_config_pb2.ModelConfig.FromString(ours.SerializeToString())
    assert (config.name, config.backend, config.platform, config.max_batch_size) == ("photos", "lqhq", "lqhq_bundle", 0)
    assert list(config.version_policy.specific.versions) == [1, 2]
    assert not config.model_transaction_policy.decoupled
    batching = config.dynamic_batching
    assert config.WhichOneof("scheduling_choice") == "dynamic_batching"
    assert (batching.priority_levels, batching.default_priority_level) == (3, 2)
    assert batching.max_queue_delay_microseconds == 2000
    policy = batching.default_queue_policy
    assert (policy.max_queue_size, policy.allow_timeout_override, policy.timeout_action) == (64, True, 0)
    assert {key: value.string_value for key, value in config.parameters.items()} == {
        "image_datatypes": "UINT8,UINT16,FP32,BYTES",
        "options": "blend,color_fix,overlap,schedule,seed,tile",
        "scale": "1",
        "task": "restoration",
        "schedules": "fast,noisy,three",
        "default_schedule": "fast",
    }


@pytest.mark.parametrize("which", ["manifest", "masked", "prompted"])
def test_inputs_are_those_of_the_metadata(which: str, request: pytest.FixtureRequest) -> None:
    """A name of the configuration that the metadata lacks is fatal to load generators."""
    bundle: Manifest = request.getfixturevalue(which)
    config, metadata = model_config("m", [1], bundle, CPU), model_metadata("m", [1], bundle)
    kinds = {kind.config: name for name, kind in DATATYPES.items()}
    for ours, listed in ((config.input, metadata.inputs), (config.output, metadata.outputs)):
        type_name = type(config).DESCRIPTOR.file.enum_types_by_name["DataType"].values_by_number
        assert [(one.name, kinds[type_name[one.data_type].name], list(one.dims)) for one in ours] == [
            (one.name, one.datatype, list(one.shape)) for one in listed
        ]
    assert [one.name for one in config.input if one.optional] == (["prompt"] if which == "prompted" else [])


@pytest.mark.parametrize(("serving", "kind", "gpus"), [(CPU, "KIND_CPU", []), (GPUS, "KIND_GPU", [0, 1])])
def test_instances(manifest: Manifest, serving: Serving, kind: str, gpus: list[int]) -> None:
    [group] = model_config("m", [1], manifest, serving).instance_group
    assert (group.Kind.Name(group.kind), list(group.gpus), group.count) == (kind, gpus, 1)


def test_a_bundle_without_schedules_names_none(masked: Manifest) -> None:
    assert "schedules" not in model_config("m", [1], masked, CPU).parameters
