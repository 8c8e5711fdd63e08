"""How CLIP's tokenizer reads a text before its merges are made: the one form that a bundle's tokenizer may have.

A tokenizer's file can say any number of replacements, each of which may double a text; so ours say what is here, and
others are refused before they are opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["READING"]

# The pattern of CLIP's paper code: endings, words, single digits, runs of anything else but spaces.
PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
# How a text is cut into pieces, which the merges then are made in.
READING: Mapping[str, Any] = {
    "normalizer": {
        "type": "Sequence",
        "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"},
        ],
    },
    "pre_tokenizer": {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": PIECES}, "behavior": "Removed", "invert": True},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        ],
    },
    "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
}
