"""The asynchronous road: predictions that are submitted, made when there is room, and fetched later."""
