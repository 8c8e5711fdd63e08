"""The models that are served: found on disk, opened and checked beside those that run, swapped in one step."""
