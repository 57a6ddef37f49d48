"""The observer: what the kernel says of a root as it happens."""
