"""Writing the mark into an encoded picture: which source it was made from, and by which recipe.

Responsible for: a JPEG comment after APP0, a PNG text after IHDR, the XMP packet for WebP and AVIF.
Not responsible for: finding marks again (`derivatives/marks.py`), encoding.
A pure leaf: bytes in, bytes out; no encoder is needed, so a mark costs microseconds.
"""

import struct
import zlib

from watcherd.naming import Mark

_PNG_HEADER_BYTES = 8 + 12 + 13  # signature, and the IHDR chunk: length, type and checksum around 13 bytes
_NAMESPACE = "https://watcherd.invalid/ns/1/"
_EMPTY_PACKET = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
_PACKET_END = b"</rdf:RDF></x:xmpmeta>"


def mark_jpeg(encoded: bytes, mark: Mark) -> bytes:
    """Insert a comment segment behind the JFIF header (or right at the start where there is none)."""
    text = str(mark).encode()
    at = 2
    if encoded[2:4] == b"\xff\xe0":
        at = 4 + int.from_bytes(encoded[4:6], "big")
    return b"".join((encoded[:at], b"\xff\xfe", struct.pack(">H", len(text) + 2), text, encoded[at:]))


def mark_png(encoded: bytes, mark: Mark) -> bytes:
    """Insert an uncompressed text chunk right behind the header chunk."""
    body = b"tEXtComment\0" + str(mark).encode()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return encoded[:_PNG_HEADER_BYTES] + chunk + encoded[_PNG_HEADER_BYTES:]


def xmp_packet(mark: Mark, kept: bytes = b"") -> bytes:
    """An XMP packet that holds the mark; what is kept of the source's packet stays in front of it."""
    described = f'<rdf:Description rdf:about="" xmlns:watcherd="{_NAMESPACE}" watcherd:mark="{mark}"/>'.encode()
    end = kept.rfind(b"</rdf:RDF>")
    if end > 0:
        return kept[:end] + described + kept[end:]
    return _EMPTY_PACKET + described + _PACKET_END
