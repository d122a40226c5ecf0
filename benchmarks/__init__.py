"""PROOF: every figure in the README, as a command."""
