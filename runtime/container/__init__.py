"""The container server's parts: what is loaded, what is asked, and the transports over it."""
