"""A folder with sources and their derivatives, and a ledger that knows them, without anything decoded."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from tests.places import picture, write
from watcherd.ledger.ledger import Ledger
from watcherd.model import THUMBNAIL, Derivative, Entry, Source, State
from watcherd.naming import Mark

WEB = "web"
WEB_FINGERPRINT = 77
FINGERPRINTS = {"thumbnail": THUMBNAIL.fingerprint, WEB: WEB_FINGERPRINT}


@dataclass(frozen=True)
class Kept:
    """`state` and `photos` below one folder."""

    folder: Path

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def photos(self) -> Path:
        return self.folder / "photos"

    def names(self) -> set[str]:
        return set(os.listdir(self.photos))

    def add(self, ledger: Ledger, name: bytes, *variants: str, gone_at_s: float | None = None) -> None:
        """A done source with some derivatives; a gone one is not on the disk."""
        content = b"source " + name
        stamp = write(self.photos, name, content)
        if gone_at_s is not None:
            os.unlink(os.fsencode(self.photos) + b"/" + name)
        digest = hashlib.sha256(content).digest()
        made = []
        for variant in variants:
            mark = Mark(variant=variant, digest=digest, fingerprint=FINGERPRINTS[variant])
            written = write(self.photos, name + f".{variant}.jpg".encode(), picture(mark))
            made.append(
                Derivative(
                    variant=variant,
                    fingerprint=mark.fingerprint,
                    size_bytes=written.size_bytes,
                    mtime_ns=written.mtime_ns,
                    width=0,
                    height=0,
                )
            )
        root = ledger.root_id(os.fsencode(self.photos))
        ledger.record(
            Entry(
                source=Source(root, name),
                state=State.DONE,
                stamp=stamp,
                digest=digest,
                gone_at_s=gone_at_s,
                derivatives=tuple(made),
            )
        )

    def ledger(self) -> Ledger:
        return Ledger.open(str(self.state / "ledger.db"))


def kept_in(folder: Path) -> Kept:
    """Two sources: each has a thumbnail, and one of a variant `web` that nobody has configured."""
    kept = Kept(folder)
    kept.state.mkdir()
    kept.photos.mkdir()
    with kept.ledger() as ledger:
        ledger.note_variants([("thumbnail", "jpg"), (WEB, "jpg")])
        for name in (b"a.jpg", b"b.jpg"):
            kept.add(ledger, name, "thumbnail", WEB)
        ledger.commit()
    return kept
