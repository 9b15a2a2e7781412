"""Locks around what libraries keep once for the whole process.

PyMTL3 keeps the component that it elaborates, and tables of names, in globals of its own. PyTorch
has one engine of quantized kernels, and its tracer changes classes for as long as it works. LiteRT
writes to the standard error past Python. Who does such a thing does it with its lock held, so that
no other thread of ours sees it half done.
"""

from __future__ import annotations

import threading

PYMTL3 = threading.RLock()
"""Held while components are elaborated, translated, or prepared for simulation."""

PYTORCH = threading.RLock()
"""Held while PyTorch's engine, its tracer, Python's filters of warnings or the standard error are
set otherwise."""
