"""The function that answers what would be chosen."""
