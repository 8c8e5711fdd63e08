"""Serves bundles over gRPC: requests come in, tiles of all of them share batches, images go out. Never torch."""
