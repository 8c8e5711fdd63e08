"""The standard services: health, by server and by model, and reflection."""
