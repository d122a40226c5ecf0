"""Model-less inference from Python: `modelless.register(task, model, X, y)`; holds no logic."""

from modelless.describing import describe
from modelless.homes import default_home
from modelless.registering import register, registered

__all__ = ["default_home", "describe", "register", "registered"]
