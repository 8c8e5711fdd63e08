"""A model's configuration, as Triton would have it: what load generators and dashboards read before they begin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lqhq.runtime.manifest import Manifest
from lqhq.server.protos.inference_pb2 import (
    ModelConfig,
    ModelDynamicBatching,
    ModelInput,
    ModelInstanceGroup,
    ModelOutput,
    ModelParameter,
    ModelQueuePolicy,
    ModelTransactionPolicy,
    ModelVersionPolicy,
)
from lqhq.server.v2.datatypes import DATATYPES
from lqhq.server.v2.metadata import INPUTS, OUTPUT, PLATFORM
from lqhq.server.v2.options import options_of
from lqhq.server.v2.requests import IMAGE_DATATYPES, PROMPT, inputs_of

__all__ = ["Serving", "model_config"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """How the server runs its models: `gpus` are their numbers, none for a CPU; `max_queue` counts requests.

    `batch_delay_s` is how long a tile waits for others at most. A timeout of a request's own is always taken.
    """

    instances: int
    gpus: Sequence[int]
    priority_levels: int
    default_priority: int
    max_queue: int
    batch_delay_s: float


def model_config(name: str, versions: Sequence[int], manifest: Manifest, serving: Serving) -> ModelConfig:
    """The configuration of the model served as `name`.

    `max_batch_size` is 0: a request is one image without a batch axis; what shares a batch is tiles.
    """
    return ModelConfig(
        name=name,
        platform=PLATFORM,
        backend="lqhq",
        version_policy=ModelVersionPolicy(specific=ModelVersionPolicy.Specific(versions=versions)),
        max_batch_size=0,
        input=[
            ModelInput(
                name=known,
                data_type=DATATYPES[INPUTS[known].datatype].config,
                dims=INPUTS[known].shape,
                optional=known == PROMPT,
            )
            for known in inputs_of(manifest)
        ],
        output=[ModelOutput(name=OUTPUT.name, data_type=DATATYPES[OUTPUT.datatype].config, dims=OUTPUT.shape)],
        instance_group=[
            ModelInstanceGroup(
                name="workers",
                count=serving.instances,
                gpus=serving.gpus,
                kind=ModelInstanceGroup.KIND_GPU if serving.gpus else ModelInstanceGroup.KIND_CPU,
            )
        ],
        dynamic_batching=_batching(serving),
        parameters={key: ModelParameter(string_value=text) for key, text in _facts(manifest).items()},
        model_transaction_policy=ModelTransactionPolicy(decoupled=False),
    )


def _batching(serving: Serving) -> ModelDynamicBatching:
    return ModelDynamicBatching(
        max_queue_delay_microseconds=round(serving.batch_delay_s * 1e6),
        preserve_ordering=False,
        priority_levels=serving.priority_levels,
        default_priority_level=serving.default_priority,
        default_queue_policy=ModelQueuePolicy(
            timeout_action=ModelQueuePolicy.REJECT, allow_timeout_override=True, max_queue_size=serving.max_queue
        ),
    )


def _facts(manifest: Manifest) -> Mapping[str, str]:
    """What the protocol has no field for. Lists are parted by commas."""
    facts = {
        "image_datatypes": ",".join(IMAGE_DATATYPES),
        "options": ",".join(name for name in options_of(manifest) if name != PROMPT),
        "scale": str(manifest.scale),
        "task": manifest.task,
    }
    if manifest.schedules:
        facts |= {"schedules": ",".join(sorted(manifest.schedules)), "default_schedule": str(manifest.default_schedule)}
    return facts
