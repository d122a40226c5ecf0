"""VARIANTS: makes them and measures them; never serves a request."""

import os

# Since 1.29, onnxruntime's Linux wheels upload session and model events to their maker unless this is set before the
# first import (its Privacy.md). An operator may set it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
