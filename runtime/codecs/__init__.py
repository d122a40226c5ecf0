"""Tensors to and from what travels: checks, JSON bodies, the Open Inference Protocol and the worker's wire form.

Nothing below this package imports onnxruntime: the gateway and the API function decode here without loading it.
"""
