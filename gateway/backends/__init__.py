"""Backends: each carries a decision out on one kind of tier; never picks another."""
