"""Where an absolute path lies among the roots, and behind their links. Pure."""

from collections.abc import Mapping

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


def over_links(path: bytes, links: Mapping[bytes, bytes]) -> bytes:
    """The path over a link that is followed to where an absolute path lies, else the path itself.

    `links`: the absolute path of each, and where it leads to. No two of these lie in one another.
    """
    for link, target in links.items():
        if path == target or path.startswith(target.rstrip(b"/") + b"/"):
            return link + path[len(target.rstrip(b"/")) :]
    return path
