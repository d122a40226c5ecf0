"""The function that makes variants which callers asked for in vain."""
