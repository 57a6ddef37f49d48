"""Kinds of picture that need more than a call of libvips, one module each."""
