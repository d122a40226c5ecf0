"""Keep-alive policies and their replay over a trace: when to stay warm for the next request; it runs nothing."""
