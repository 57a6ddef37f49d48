"""Watching: what happens in a root, and when an upload is complete."""
