"""The configuration read again while the daemon runs: what it reaches, and how the daemon is refitted to it."""
