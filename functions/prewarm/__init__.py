"""The function that has capacity before it is asked for: environments, variants in them, and what is paid for."""
