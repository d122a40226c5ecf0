"""The function that runs variants: one environment, several resident variants."""
