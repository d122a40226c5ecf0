"""Whether a model from outside is fit to be registered, found out in a process apart; never trusts one before."""

from optimizer.vet.caps import CAPS, Caps
from optimizer.vet.sandbox import vet, vet_all

__all__ = ["CAPS", "Caps", "vet", "vet_all"]
