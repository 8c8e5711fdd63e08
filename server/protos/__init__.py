"""The wire contracts: `inference.proto` (V2) and `lqhq_v1.proto`, and what `tools/make_protos.py` makes of them."""
