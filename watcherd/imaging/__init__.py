"""Imaging: from the bytes of an upload to the bytes of its derivatives. The only room that knows pyvips and Pillow."""
