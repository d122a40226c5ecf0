"""Variants made on demand: what callers asked for in vain is noted, planned, made in another process, and published."""
