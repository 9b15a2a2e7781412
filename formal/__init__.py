"""Formal proofs about the RTL: ``python -m formal``."""
