import accel  # noqa: F401 (before PyMTL3 is used: accel/hardware/newer_python.py)
