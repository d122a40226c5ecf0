"""What is kept warm: what was asked for is remembered, the scheduler plans from it, and backends carry that out."""
