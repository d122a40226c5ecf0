"""The function that gives up what is not worth keeping: variants, idle environments, and what is paid for."""
