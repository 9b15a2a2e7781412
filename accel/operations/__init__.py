"""The kinds of operations of a network, a file each: what a kind is, its checks, its kernel in
PyTorch, its arithmetic in integers, and what the array is to compute for it.

A new kind is a file here and an entry in :data:`KINDS`.
"""

from accel.operations.add import Add
from accel.operations.avg_pool2d import AvgPool2d
from accel.operations.concat import Concat
from accel.operations.conv2d import Conv2d
from accel.operations.linear import Linear
from accel.operations.max_pool2d import MaxPool2d
from accel.operations.mean import Mean
from accel.operations.operation import Operation
from accel.operations.table import Table

__all__ = [
    "KINDS",
    "Add",
    "AvgPool2d",
    "Concat",
    "Conv2d",
    "Linear",
    "MaxPool2d",
    "Mean",
    "Operation",
    "Table",
]

KINDS: dict[str, type[Operation]] = {
    kind.KIND: kind for kind in (Add, AvgPool2d, Concat, Conv2d, Linear, MaxPool2d, Mean, Table)
}
"""By the name that a network's file gives to each."""
