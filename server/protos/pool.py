"""The descriptor pool of our messages.

protobuf's default pool holds a full name once in a process, and clients of the V2 protocol put `inference.*` there
under a file name of their own: whoever came second could not be imported. Ours are in a pool apart, so that a program
may be server and client at once. Reflection must be given this pool; it lists nothing but ours.

It helps where protobuf runs on upb, as every wheel does; the pure Python implementation puts each name in the default
pool as well.
"""

from __future__ import annotations

from google.protobuf.descriptor_pool import DescriptorPool

__all__ = ["POOL"]

POOL = DescriptorPool()
