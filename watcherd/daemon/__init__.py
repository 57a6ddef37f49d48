"""The daemon: the composition of all rooms, and the one loop that owns all state."""
