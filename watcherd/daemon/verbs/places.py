"""Where an absolute path lies among the roots. Pure."""

from watcherd.model import Source


def locate(path: bytes, roots: dict[int, bytes]) -> Source | None:
    """The source at an absolute path: below the longest root that holds it."""
    holding = [
        (len(root), number) for number, root in roots.items() if (path + b"/").startswith(root.rstrip(b"/") + b"/")
    ]
    if not holding:
        return None
    length, number = max(holding)
    return Source(number, path[length:].lstrip(b"/"))
