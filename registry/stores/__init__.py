"""The stores: in memory, in one SQLite file, in one DynamoDB table; imported one by one, for each has its own needs."""
