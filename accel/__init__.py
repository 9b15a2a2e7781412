"""Generator of int8 CNN accelerators: PyTorch in, verified hardware out."""
