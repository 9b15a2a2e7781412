"""What `make bench` measures: each module a section of docs/benchmarks.md.

A section has `measure()`, which yields its part of docs/benchmarks.json; `fill(part)`, which makes
tables and figures of that for its places in template.md; and `draw(part)`, its pictures.
"""
