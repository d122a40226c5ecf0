"""Lambda's programming model as local processes: one environment, one request at a time; never a model or a policy."""
