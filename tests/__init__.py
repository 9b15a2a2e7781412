"""Tests: ``units`` of the hardware, the ``system`` by package of ``accel``, and ``tools``."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""Of the repository."""
