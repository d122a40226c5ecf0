"""The same scheduler on a virtual clock: what a workload would meet and cost, with no machine at all."""
