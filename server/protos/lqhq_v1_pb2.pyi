# ruff: noqa
# fmt: off
# mypy: disable-error-code="type-arg,misc"
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ImageFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IMAGE_FORMAT_UNSPECIFIED: _ClassVar[ImageFormat]
    IMAGE_FORMAT_PNG: _ClassVar[ImageFormat]
    IMAGE_FORMAT_JPEG: _ClassVar[ImageFormat]
    IMAGE_FORMAT_WEBP: _ClassVar[ImageFormat]
    IMAGE_FORMAT_TIFF: _ClassVar[ImageFormat]

class Blend(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BLEND_UNSPECIFIED: _ClassVar[Blend]
    BLEND_EACH: _ClassVar[Blend]
    BLEND_FINAL: _ClassVar[Blend]

class Rules(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RULES_UNSPECIFIED: _ClassVar[Rules]
    RULES_DEFAULT: _ClassVar[Rules]
    RULES_ORIGINAL: _ClassVar[Rules]

class Prior(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIOR_UNSPECIFIED: _ClassVar[Prior]
    PRIOR_IMAGE: _ClassVar[Prior]
    PRIOR_TILE: _ClassVar[Prior]

class ColorFix(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COLOR_FIX_UNSPECIFIED: _ClassVar[ColorFix]
    COLOR_FIX_NONE: _ClassVar[ColorFix]
    COLOR_FIX_WAVELET: _ClassVar[ColorFix]
    COLOR_FIX_ADAIN: _ClassVar[ColorFix]

class Part(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PART_UNSPECIFIED: _ClassVar[Part]
    PART_IMAGE: _ClassVar[Part]
    PART_MASK: _ClassVar[Part]

class ModelState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_STATE_UNSPECIFIED: _ClassVar[ModelState]
    MODEL_STATE_LOADING: _ClassVar[ModelState]
    MODEL_STATE_READY: _ClassVar[ModelState]
    MODEL_STATE_UNLOADING: _ClassVar[ModelState]
    MODEL_STATE_FAILED: _ClassVar[ModelState]
IMAGE_FORMAT_UNSPECIFIED: ImageFormat
IMAGE_FORMAT_PNG: ImageFormat
IMAGE_FORMAT_JPEG: ImageFormat
IMAGE_FORMAT_WEBP: ImageFormat
IMAGE_FORMAT_TIFF: ImageFormat
BLEND_UNSPECIFIED: Blend
BLEND_EACH: Blend
BLEND_FINAL: Blend
RULES_UNSPECIFIED: Rules
RULES_DEFAULT: Rules
RULES_ORIGINAL: Rules
PRIOR_UNSPECIFIED: Prior
PRIOR_IMAGE: Prior
PRIOR_TILE: Prior
COLOR_FIX_UNSPECIFIED: ColorFix
COLOR_FIX_NONE: ColorFix
COLOR_FIX_WAVELET: ColorFix
COLOR_FIX_ADAIN: ColorFix
PART_UNSPECIFIED: Part
PART_IMAGE: Part
PART_MASK: Part
MODEL_STATE_UNSPECIFIED: ModelState
MODEL_STATE_LOADING: ModelState
MODEL_STATE_READY: ModelState
MODEL_STATE_UNLOADING: ModelState
MODEL_STATE_FAILED: ModelState

class ModelRef(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class Options(_message.Message):
    __slots__ = ("schedule", "seed", "prompt", "tagger", "color_fix", "rules", "prior", "tile", "overlap", "blend")
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    TAGGER_FIELD_NUMBER: _ClassVar[int]
    COLOR_FIX_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    PRIOR_FIELD_NUMBER: _ClassVar[int]
    TILE_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    BLEND_FIELD_NUMBER: _ClassVar[int]
    schedule: str
    seed: int
    prompt: str
    tagger: bool
    color_fix: ColorFix
    rules: Rules
    prior: Prior
    tile: int
    overlap: int
    blend: Blend
    def __init__(self, schedule: _Optional[str] = ..., seed: _Optional[int] = ..., prompt: _Optional[str] = ..., tagger: _Optional[bool] = ..., color_fix: _Optional[_Union[ColorFix, str]] = ..., rules: _Optional[_Union[Rules, str]] = ..., prior: _Optional[_Union[Prior, str]] = ..., tile: _Optional[int] = ..., overlap: _Optional[int] = ..., blend: _Optional[_Union[Blend, str]] = ...) -> None: ...

class Output(_message.Message):
    __slots__ = ("format", "quality", "bit_depth")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    BIT_DEPTH_FIELD_NUMBER: _ClassVar[int]
    format: ImageFormat
    quality: int
    bit_depth: int
    def __init__(self, format: _Optional[_Union[ImageFormat, str]] = ..., quality: _Optional[int] = ..., bit_depth: _Optional[int] = ...) -> None: ...

class Ask(_message.Message):
    __slots__ = ("request_id", "model", "options", "output", "priority")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    model: ModelRef
    options: Options
    output: Output
    priority: int
    def __init__(self, request_id: _Optional[str] = ..., model: _Optional[_Union[ModelRef, _Mapping]] = ..., options: _Optional[_Union[Options, _Mapping]] = ..., output: _Optional[_Union[Output, _Mapping]] = ..., priority: _Optional[int] = ...) -> None: ...

class RestoreRequest(_message.Message):
    __slots__ = ("ask", "image", "mask")
    ASK_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    ask: Ask
    image: bytes
    mask: bytes
    def __init__(self, ask: _Optional[_Union[Ask, _Mapping]] = ..., image: _Optional[bytes] = ..., mask: _Optional[bytes] = ...) -> None: ...

class RestoreResponse(_message.Message):
    __slots__ = ("image", "outcome")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    image: bytes
    outcome: Outcome
    def __init__(self, image: _Optional[bytes] = ..., outcome: _Optional[_Union[Outcome, _Mapping]] = ...) -> None: ...

class RestoreUpload(_message.Message):
    __slots__ = ("header", "chunk", "end")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    header: UploadHeader
    chunk: Chunk
    end: UploadEnd
    def __init__(self, header: _Optional[_Union[UploadHeader, _Mapping]] = ..., chunk: _Optional[_Union[Chunk, _Mapping]] = ..., end: _Optional[_Union[UploadEnd, _Mapping]] = ...) -> None: ...

class UploadHeader(_message.Message):
    __slots__ = ("ask", "image_bytes", "mask_bytes", "progress", "tiles", "chunk_bytes")
    ASK_FIELD_NUMBER: _ClassVar[int]
    IMAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MASK_BYTES_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    TILES_FIELD_NUMBER: _ClassVar[int]
    CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    ask: Ask
    image_bytes: int
    mask_bytes: int
    progress: bool
    tiles: bool
    chunk_bytes: int
    def __init__(self, ask: _Optional[_Union[Ask, _Mapping]] = ..., image_bytes: _Optional[int] = ..., mask_bytes: _Optional[int] = ..., progress: _Optional[bool] = ..., tiles: _Optional[bool] = ..., chunk_bytes: _Optional[int] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("offset", "data", "part")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    offset: int
    data: bytes
    part: Part
    def __init__(self, offset: _Optional[int] = ..., data: _Optional[bytes] = ..., part: _Optional[_Union[Part, str]] = ...) -> None: ...

class UploadEnd(_message.Message):
    __slots__ = ("image_sha256", "mask_sha256")
    IMAGE_SHA256_FIELD_NUMBER: _ClassVar[int]
    MASK_SHA256_FIELD_NUMBER: _ClassVar[int]
    image_sha256: str
    mask_sha256: str
    def __init__(self, image_sha256: _Optional[str] = ..., mask_sha256: _Optional[str] = ...) -> None: ...

class RestoreEvent(_message.Message):
    __slots__ = ("accepted", "progress", "tile", "result", "chunk", "done")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    TILE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    accepted: Accepted
    progress: Progress
    tile: Tile
    result: ResultHeader
    chunk: Chunk
    done: Done
    def __init__(self, accepted: _Optional[_Union[Accepted, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., tile: _Optional[_Union[Tile, _Mapping]] = ..., result: _Optional[_Union[ResultHeader, _Mapping]] = ..., chunk: _Optional[_Union[Chunk, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ...) -> None: ...

class Accepted(_message.Message):
    __slots__ = ("request_id", "image", "result", "works", "queue_s", "run_s")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    WORKS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_S_FIELD_NUMBER: _ClassVar[int]
    RUN_S_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    image: ImageShape
    result: ImageShape
    works: int
    queue_s: float
    run_s: float
    def __init__(self, request_id: _Optional[str] = ..., image: _Optional[_Union[ImageShape, _Mapping]] = ..., result: _Optional[_Union[ImageShape, _Mapping]] = ..., works: _Optional[int] = ..., queue_s: _Optional[float] = ..., run_s: _Optional[float] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("done", "total", "left_s")
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    LEFT_S_FIELD_NUMBER: _ClassVar[int]
    done: int
    total: int
    left_s: float
    def __init__(self, done: _Optional[int] = ..., total: _Optional[int] = ..., left_s: _Optional[float] = ...) -> None: ...

class Tile(_message.Message):
    __slots__ = ("box", "image")
    BOX_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    box: Box
    image: bytes
    def __init__(self, box: _Optional[_Union[Box, _Mapping]] = ..., image: _Optional[bytes] = ...) -> None: ...

class ResultHeader(_message.Message):
    __slots__ = ("bytes", "format", "shape")
    BYTES_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    bytes: int
    format: ImageFormat
    shape: ImageShape
    def __init__(self, bytes: _Optional[int] = ..., format: _Optional[_Union[ImageFormat, str]] = ..., shape: _Optional[_Union[ImageShape, _Mapping]] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ("sha256", "outcome")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    outcome: Outcome
    def __init__(self, sha256: _Optional[str] = ..., outcome: _Optional[_Union[Outcome, _Mapping]] = ...) -> None: ...

class Box(_message.Message):
    __slots__ = ("top", "left", "height", "width")
    TOP_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    top: int
    left: int
    height: int
    width: int
    def __init__(self, top: _Optional[int] = ..., left: _Optional[int] = ..., height: _Optional[int] = ..., width: _Optional[int] = ...) -> None: ...

class ImageShape(_message.Message):
    __slots__ = ("height", "width", "channels", "bit_depth")
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    BIT_DEPTH_FIELD_NUMBER: _ClassVar[int]
    height: int
    width: int
    channels: int
    bit_depth: int
    def __init__(self, height: _Optional[int] = ..., width: _Optional[int] = ..., channels: _Optional[int] = ..., bit_depth: _Optional[int] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("request_id", "model", "version", "bundle_sha256", "shape", "format", "schedule", "seed", "tile_height", "tile_width", "overlap", "blend", "rules", "prior", "color_fix", "precision", "engine", "device", "works", "decode_s", "queue_s", "run_s", "encode_s")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_SHA256_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TILE_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TILE_WIDTH_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    BLEND_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    PRIOR_FIELD_NUMBER: _ClassVar[int]
    COLOR_FIX_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    WORKS_FIELD_NUMBER: _ClassVar[int]
    DECODE_S_FIELD_NUMBER: _ClassVar[int]
    QUEUE_S_FIELD_NUMBER: _ClassVar[int]
    RUN_S_FIELD_NUMBER: _ClassVar[int]
    ENCODE_S_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    model: str
    version: int
    bundle_sha256: str
    shape: ImageShape
    format: ImageFormat
    schedule: str
    seed: int
    tile_height: int
    tile_width: int
    overlap: int
    blend: Blend
    rules: Rules
    prior: Prior
    color_fix: ColorFix
    precision: str
    engine: str
    device: str
    works: int
    decode_s: float
    queue_s: float
    run_s: float
    encode_s: float
    def __init__(self, request_id: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[int] = ..., bundle_sha256: _Optional[str] = ..., shape: _Optional[_Union[ImageShape, _Mapping]] = ..., format: _Optional[_Union[ImageFormat, str]] = ..., schedule: _Optional[str] = ..., seed: _Optional[int] = ..., tile_height: _Optional[int] = ..., tile_width: _Optional[int] = ..., overlap: _Optional[int] = ..., blend: _Optional[_Union[Blend, str]] = ..., rules: _Optional[_Union[Rules, str]] = ..., prior: _Optional[_Union[Prior, str]] = ..., color_fix: _Optional[_Union[ColorFix, str]] = ..., precision: _Optional[str] = ..., engine: _Optional[str] = ..., device: _Optional[str] = ..., works: _Optional[int] = ..., decode_s: _Optional[float] = ..., queue_s: _Optional[float] = ..., run_s: _Optional[float] = ..., encode_s: _Optional[float] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ("ready",)
    READY_FIELD_NUMBER: _ClassVar[int]
    ready: bool
    def __init__(self, ready: _Optional[bool] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ModelSummary]
    def __init__(self, models: _Optional[_Iterable[_Union[ModelSummary, _Mapping]]] = ...) -> None: ...

class ModelSummary(_message.Message):
    __slots__ = ("name", "version", "state", "reason", "task", "scale")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    state: ModelState
    reason: str
    task: str
    scale: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., state: _Optional[_Union[ModelState, str]] = ..., reason: _Optional[str] = ..., task: _Optional[str] = ..., scale: _Optional[int] = ...) -> None: ...

class DescribeModelRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: ModelRef
    def __init__(self, model: _Optional[_Union[ModelRef, _Mapping]] = ...) -> None: ...

class DescribeModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("summary", "options", "limits", "needs_mask", "reads_prompt", "baked_prompt", "reads_tags", "schedules", "tiles", "color_fix", "precision", "engine", "engine_version", "device", "verified", "bundle_sha256", "files", "sources", "licences", "made_with", "parity", "self_check")
    class MadeWithEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    NEEDS_MASK_FIELD_NUMBER: _ClassVar[int]
    READS_PROMPT_FIELD_NUMBER: _ClassVar[int]
    BAKED_PROMPT_FIELD_NUMBER: _ClassVar[int]
    READS_TAGS_FIELD_NUMBER: _ClassVar[int]
    SCHEDULES_FIELD_NUMBER: _ClassVar[int]
    TILES_FIELD_NUMBER: _ClassVar[int]
    COLOR_FIX_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_SHA256_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    LICENCES_FIELD_NUMBER: _ClassVar[int]
    MADE_WITH_FIELD_NUMBER: _ClassVar[int]
    PARITY_FIELD_NUMBER: _ClassVar[int]
    SELF_CHECK_FIELD_NUMBER: _ClassVar[int]
    summary: ModelSummary
    options: _containers.RepeatedScalarFieldContainer[str]
    limits: Limits
    needs_mask: bool
    reads_prompt: bool
    baked_prompt: str
    reads_tags: bool
    schedules: _containers.RepeatedCompositeFieldContainer[Schedule]
    tiles: TileHints
    color_fix: ColorFix
    precision: str
    engine: str
    engine_version: str
    device: str
    verified: bool
    bundle_sha256: str
    files: _containers.RepeatedCompositeFieldContainer[FileDigest]
    sources: _containers.RepeatedCompositeFieldContainer[FileDigest]
    licences: _containers.RepeatedCompositeFieldContainer[Licence]
    made_with: _containers.ScalarMap[str, str]
    parity: _containers.RepeatedCompositeFieldContainer[Parity]
    self_check: SelfCheck
    def __init__(self, summary: _Optional[_Union[ModelSummary, _Mapping]] = ..., options: _Optional[_Iterable[str]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., needs_mask: _Optional[bool] = ..., reads_prompt: _Optional[bool] = ..., baked_prompt: _Optional[str] = ..., reads_tags: _Optional[bool] = ..., schedules: _Optional[_Iterable[_Union[Schedule, _Mapping]]] = ..., tiles: _Optional[_Union[TileHints, _Mapping]] = ..., color_fix: _Optional[_Union[ColorFix, str]] = ..., precision: _Optional[str] = ..., engine: _Optional[str] = ..., engine_version: _Optional[str] = ..., device: _Optional[str] = ..., verified: _Optional[bool] = ..., bundle_sha256: _Optional[str] = ..., files: _Optional[_Iterable[_Union[FileDigest, _Mapping]]] = ..., sources: _Optional[_Iterable[_Union[FileDigest, _Mapping]]] = ..., licences: _Optional[_Iterable[_Union[Licence, _Mapping]]] = ..., made_with: _Optional[_Mapping[str, str]] = ..., parity: _Optional[_Iterable[_Union[Parity, _Mapping]]] = ..., self_check: _Optional[_Union[SelfCheck, _Mapping]] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_image_bytes", "max_pixels", "max_result_pixels", "max_message_bytes", "formats", "priority_levels", "default_priority")
    MAX_IMAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_PIXELS_FIELD_NUMBER: _ClassVar[int]
    MAX_RESULT_PIXELS_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    FORMATS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_LEVELS_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_PRIORITY_FIELD_NUMBER: _ClassVar[int]
    max_image_bytes: int
    max_pixels: int
    max_result_pixels: int
    max_message_bytes: int
    formats: _containers.RepeatedScalarFieldContainer[ImageFormat]
    priority_levels: int
    default_priority: int
    def __init__(self, max_image_bytes: _Optional[int] = ..., max_pixels: _Optional[int] = ..., max_result_pixels: _Optional[int] = ..., max_message_bytes: _Optional[int] = ..., formats: _Optional[_Iterable[_Union[ImageFormat, str]]] = ..., priority_levels: _Optional[int] = ..., default_priority: _Optional[int] = ...) -> None: ...

class Schedule(_message.Message):
    __slots__ = ("name", "about", "calls", "noisy", "default")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ABOUT_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    NOISY_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_FIELD_NUMBER: _ClassVar[int]
    name: str
    about: str
    calls: int
    noisy: bool
    default: bool
    def __init__(self, name: _Optional[str] = ..., about: _Optional[str] = ..., calls: _Optional[int] = ..., noisy: _Optional[bool] = ..., default: _Optional[bool] = ...) -> None: ...

class TileHints(_message.Message):
    __slots__ = ("enlarged", "multiple", "smallest", "preferred", "overlap", "blend", "deviations")
    ENLARGED_FIELD_NUMBER: _ClassVar[int]
    MULTIPLE_FIELD_NUMBER: _ClassVar[int]
    SMALLEST_FIELD_NUMBER: _ClassVar[int]
    PREFERRED_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    BLEND_FIELD_NUMBER: _ClassVar[int]
    DEVIATIONS_FIELD_NUMBER: _ClassVar[int]
    enlarged: int
    multiple: int
    smallest: int
    preferred: int
    overlap: int
    blend: Blend
    deviations: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, enlarged: _Optional[int] = ..., multiple: _Optional[int] = ..., smallest: _Optional[int] = ..., preferred: _Optional[int] = ..., overlap: _Optional[int] = ..., blend: _Optional[_Union[Blend, str]] = ..., deviations: _Optional[_Iterable[str]] = ...) -> None: ...

class FileDigest(_message.Message):
    __slots__ = ("name", "sha256", "bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    sha256: str
    bytes: int
    def __init__(self, name: _Optional[str] = ..., sha256: _Optional[str] = ..., bytes: _Optional[int] = ...) -> None: ...

class Licence(_message.Message):
    __slots__ = ("part", "licence", "attribution")
    PART_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    part: str
    licence: str
    attribution: str
    def __init__(self, part: _Optional[str] = ..., licence: _Optional[str] = ..., attribution: _Optional[str] = ...) -> None: ...

class Parity(_message.Message):
    __slots__ = ("what", "precision", "cases", "max_abs", "p99_9", "psnr_db", "ssim", "tolerance", "unit", "passed")
    WHAT_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    CASES_FIELD_NUMBER: _ClassVar[int]
    MAX_ABS_FIELD_NUMBER: _ClassVar[int]
    P99_9_FIELD_NUMBER: _ClassVar[int]
    PSNR_DB_FIELD_NUMBER: _ClassVar[int]
    SSIM_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    what: str
    precision: str
    cases: int
    max_abs: float
    p99_9: float
    psnr_db: float
    ssim: float
    tolerance: float
    unit: str
    passed: bool
    def __init__(self, what: _Optional[str] = ..., precision: _Optional[str] = ..., cases: _Optional[int] = ..., max_abs: _Optional[float] = ..., p99_9: _Optional[float] = ..., psnr_db: _Optional[float] = ..., ssim: _Optional[float] = ..., tolerance: _Optional[float] = ..., unit: _Optional[str] = ..., passed: _Optional[bool] = ...) -> None: ...

class SelfCheck(_message.Message):
    __slots__ = ("passed", "cases", "seconds")
    PASSED_FIELD_NUMBER: _ClassVar[int]
    CASES_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    passed: bool
    cases: int
    seconds: float
    def __init__(self, passed: _Optional[bool] = ..., cases: _Optional[int] = ..., seconds: _Optional[float] = ...) -> None: ...
