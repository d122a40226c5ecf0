"""SHELL: one folder per Lambda function; parses, calls one function, returns."""
