BAUD = 3_000_000
"""Bits a second of a board's line, unless its bitstream was made for another rate."""
