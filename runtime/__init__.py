"""EXECUTION: runs variants inside one process; never chooses which one."""
