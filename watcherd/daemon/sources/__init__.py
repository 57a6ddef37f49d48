"""The way of one source through the daemon: taken in, attempted, recorded; moved, gone, taken up again after a stop."""
