"""Derivatives on disk: published whole under their name, adopted, or left alone."""
