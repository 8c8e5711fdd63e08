"""What a server says of its models, as text."""

from __future__ import annotations

from lqhq.server.protos import lqhq_v1_pb2 as pb
from lqhq.tools.cli.model_page import as_fields, model_lines, model_page

READY = pb.ModelSummary(name="demo", version=2, state=pb.MODEL_STATE_READY, task="super-resolution", scale=4)
FAILED = pb.ModelSummary(name="torn\x1b", version=1, state=pb.MODEL_STATE_FAILED, reason="a digest\ndiffers")


def whole() -> pb.Model:
    return pb.Model(
        summary=READY,
        options=["seed", "tile"],
        limits=pb.Limits(max_image_bytes=1000, formats=[pb.IMAGE_FORMAT_PNG, pb.IMAGE_FORMAT_TIFF], priority_levels=3),
        needs_mask=True,
        reads_prompt=True,
        reads_tags=True,
        baked_prompt="clean",
        schedules=[pb.Schedule(name="fast", about="one step", calls=1, noisy=True, default=True)],
        tiles=pb.TileHints(multiple=4, smallest=8, preferred=64, overlap=16, blend=pb.BLEND_FINAL),
        precision="fp32",
        engine="onnx",
        device="cpu",
        licences=[pb.Licence(part="base", licence="unknown"), pb.Licence(part="text", licence="MIT", attribution="A")],
        parity=[
            pb.Parity(what="image", precision="fp32", cases=2, max_abs=0.5, tolerance=1, unit="abs", passed=True),
            pb.Parity(what="image", precision="fp16", cases=2, psnr_db=29.5, tolerance=30, unit="dB"),
            pb.Parity(what="state", precision="fp16", cases=1, tolerance=30, unit="dB", passed=True),
        ],
        self_check=pb.SelfCheck(passed=True, cases=4, seconds=0.25),
        bundle_sha256="ab" * 32,
    )


def test_lines() -> None:
    assert model_lines([READY, FAILED]) == [
        "  demo   2  ready   super-resolution x4",
        "  torn?  1  failed  a digest?differs",
    ]
    assert model_lines([]) == []


def test_the_page_says_what_a_caller_needs() -> None:
    page = model_page(whole())
    text = "\n".join(page)
    assert page[0] == "demo 2: super-resolution x4"
    for expected in (
        "fp32 on onnx",
        "verified    no",
        "passed, 4 case(s)",
        "mask        needed",
        "read, and tags of the image",
        "fixed at export: 'clean'",
        "fast (default): one step; 1 call(s) a tile, the seed matters",
        "blend final",
        "as png, tiff",
        "1 (most urgent) to 3",
        "image fp32: passed, worst 0.5 in 2 case(s), allowed at most 1",
        "image fp16: FAILED, worst 29.5 dB in 2 case(s), allowed at least 30 dB",
        "state fp16: passed, worst no difference in 1 case(s)",
        "text: MIT (A)",
    ):
        assert expected in text


def test_a_model_that_could_not_be_opened_is_its_line() -> None:
    assert model_page(pb.Model(summary=FAILED)) == model_lines([FAILED])


def test_nothing_known_is_said_so() -> None:
    bare = pb.Model(summary=pb.ModelSummary(name="m", state=99), options=["seed"])  # type: ignore[arg-type]
    text = "\n".join(model_page(bare))
    assert "state       unknown" in text
    assert "has not run" in text


def test_fields_have_the_names_of_the_proto() -> None:
    fields = as_fields(whole())
    assert fields["summary"]["name"] == "demo"
    assert fields["parity"][0]["passed"] is True
    assert fields["needs_mask"] is True
