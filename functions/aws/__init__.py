"""What the functions share of AWS: settings, who calls, and the stores and backends that the settings name."""
