"""Where the derivatives of each root lie, and lay: the settings and the ledger together.

Responsible for: a root's names (`naming.Names`), and taking a mirror into use. Not responsible for: what a layout means
(`naming.py`), how a file comes from one to another (`watch/hands/relocating.py`).
"""

import os
from collections.abc import Iterable

from watcherd.ledger.ledger import Ledger
from watcherd.model import Variant
from watcherd.naming import SIBLING, UNUSED, Layout, Names
from watcherd.settings import LayoutKind, RootSettings
from watcherd.watch import trees

_HIDDEN = os.fsencode(RootSettings(path="").subfolder)


def names_of(settings: RootSettings, root: int, variants: Iterable[Variant], ledger: Ledger) -> Names:
    """All names that a root's derivatives have or may have; the ledger learns the layout of now.

    Those of the defaults are looked at in any case: after the loss of the ledger, nothing else would tell of them.
    """
    earlier = [Layout(tree=tree, folder=folder, number=number) for number, tree, folder in ledger.layouts(root)]
    tree, folder = _parts(settings)
    layout = Layout(tree=tree, folder=folder, number=ledger.layout_id(root, tree, folder))
    layouts = dict.fromkeys((layout, *earlier, SIBLING))
    if not any(one.folder == _HIDDEN for one in layouts):
        layouts[Layout(folder=_HIDDEN, number=UNUSED)] = None
    current = [(variant.name, variant.format.extension) for variant in variants]
    known = (*current, *(pair for pair in ledger.known_variants() if pair not in current))
    return Names(layouts=tuple(layouts), known=known)


def recorded_names(root: int, ledger: Ledger) -> Names:
    """The names that a root's recorded derivatives have, from the ledger alone."""
    layouts = [Layout(tree=tree, folder=folder, number=number) for number, tree, folder in ledger.layouts(root)]
    return Names(layouts=(*layouts, SIBLING), known=ledger.known_variants())


def take_into_use(settings: RootSettings, root: int, ledger: Ledger) -> None:
    """Mark a mirror that this root has not had before as one. Raises OSError where it cannot be written to."""
    tree, _ = _parts(settings)
    known = {tree for _, tree, _ in ledger.layouts(root)}
    if tree and tree not in known:
        trees.found(tree)


def _parts(settings: RootSettings) -> tuple[bytes, bytes]:
    """The two parts of a layout: the tree and the folder that derivatives have for themselves."""
    match settings.layout:
        case LayoutKind.SIBLING:
            return b"", b""
        case LayoutKind.SUBFOLDER:
            return b"", os.fsencode(settings.subfolder)
        case LayoutKind.MIRROR:
            return os.fsencode(settings.mirror), b""
