"""The function that makes predictions which nobody waits for."""
