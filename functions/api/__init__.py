"""The function that answers callers: one request from arrival to answer."""
