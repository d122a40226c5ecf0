"""VARIANTS: makes them and measures them; never serves a request."""
