"""The function that keeps judgements, and publishes the accuracies that follow from them."""
