"""watcherd: watches upload directories and writes image derivatives next to each upload.

This module holds the version and imports nothing heavy: `import watcherd` and `watcherd --version` cost nothing.
"""

__version__ = "0.1.0"
