"""Models as their makers keep them, turned into ONNX: one file per library; unpickles nothing and trains nothing."""

from optimizer.sources.convert import Converted, convert, name_of, rows_of
from optimizer.sources.graphs import onnx_of
from optimizer.sources.table import SOURCES, Source, is_onnx, source_of

__all__ = ["SOURCES", "Converted", "Source", "convert", "is_onnx", "name_of", "onnx_of", "rows_of", "source_of"]
