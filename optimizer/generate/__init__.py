"""Generators: each makes one more variant of an ONNX model, and none decides whether it is any good."""
