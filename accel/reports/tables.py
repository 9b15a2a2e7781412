"""How tables look in a terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table


def new_table(title: str, *names: str) -> Table:
    """A table that fits into 80 characters without cutting a number."""
    table = Table(
        title=title,
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for name in names:
        table.add_column(name, no_wrap=True)
    return table


def add_numbers(table: Table, *names: str) -> None:
    """Columns whose cells stand at the right."""
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
