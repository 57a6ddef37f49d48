"""Whole roots: their state, their scans, how they are watched, where derivatives lie, and what was there first."""
