"""HANDS: the `modelless` command; never holds logic that another room needs."""
