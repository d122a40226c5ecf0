"""DECISIONS: values in, values out; never performs I/O, reads a clock or draws a random number."""
