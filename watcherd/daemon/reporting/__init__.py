"""What the daemon says of itself: status, totals, metrics, the tally of a scan, and to the service manager."""
