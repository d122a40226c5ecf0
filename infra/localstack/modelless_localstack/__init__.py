"""LocalStack's plugin: our execution environments as its Lambda, and a DynamoDB; never imported by the product."""
