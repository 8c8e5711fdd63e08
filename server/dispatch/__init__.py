"""Brings works to workers: one thread owns the batcher and all sources, and one worker process has each device."""
