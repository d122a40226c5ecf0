"""What is kept warm: what was asked for when is remembered, the scheduler plans from it, and backends carry that out."""
