"""A residual net over the encoded matrix: PyTorch on several ranks, scored as ONNX."""
