"""FACTS: what exists, what it costs and how it behaves; never decides and never runs a model."""
