"""Only what was shown to be its model is served."""

from __future__ import annotations

import msgspec
import pytest

from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.errors import BundleError
from lqhq.server.models.parity_gate import is_verified, require_verified


def test_a_bundle_whose_comparisons_passed(tiny_bundle):
    manifest = open_bundle(tiny_bundle()).manifest
    assert is_verified(manifest, "fp32")
    require_verified(manifest, "fp32")


def test_no_record_is_no_proof(tiny_bundle):
    manifest = open_bundle(tiny_bundle(parity=())).manifest
    assert not is_verified(manifest, "fp32")
    with pytest.raises(BundleError, match="no record for fp32"):
        require_verified(manifest, "fp32")


def test_records_of_another_precision_are_none(tiny_bundle):
    assert not is_verified(open_bundle(tiny_bundle()).manifest, "fp16")


def test_one_failure_is_enough(tiny_bundle):
    manifest = open_bundle(tiny_bundle()).manifest
    bad = msgspec.structs.replace(manifest.parity[0], what="image", passed=False)
    planted = msgspec.structs.replace(manifest, parity=(*manifest.parity, bad))
    assert not is_verified(planted, "fp32")
    with pytest.raises(BundleError, match="a failed comparison of image"):
        require_verified(planted, "fp32")
