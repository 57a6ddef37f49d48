"""Writing the mark into an encoded picture: which source it was made from, and by which recipe.

Responsible for: a JPEG comment after APP0, a PNG text after IHDR, the XMP packet for WebP, AVIF and JPEG XL, and the
container that the latter wants for it.
Not responsible for: finding marks again (`derivatives/marks.py`), encoding.
A pure leaf: bytes in, bytes out; no encoder is needed, so a mark costs microseconds.
"""

import struct
import zlib

from watcherd.naming import Mark

_PNG_HEADER_BYTES = 8 + 12 + 13  # signature, and the IHDR chunk: length, type and checksum around 13 bytes
_NAMESPACE = "https://watcherd.invalid/ns/1/"
_EMPTY_PACKET = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
_JXL_SIGNATURE = b"\0\0\0\x0cJXL \r\n\x87\n"
_LONG_PACKET_BYTES = 32 * 1024
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


def mark_jxl(code_stream: bytes, mark: Mark, *, exif: bytes = b"", xmp: bytes = b"") -> bytes:
    """Put a bare code stream into boxes, the mark before it (ISO 18181-2, annex A). `exif`: without its JPEG prefix.

    A long packet of the source stands in a box of its own, so that the mark is always near the beginning.
    """
    packets = [xmp_packet(mark, xmp)] if len(xmp) <= _LONG_PACKET_BYTES else [xmp_packet(mark), xmp]
    boxes = [(b"ftyp", b"jxl \0\0\0\0jxl "), *((b"xml ", packet) for packet in packets)]
    if exif:
        boxes.append((b"Exif", bytes(4) + exif))
    boxes.append((b"jxlc", code_stream))
    return _JXL_SIGNATURE + b"".join(struct.pack(">I", 8 + len(body)) + kind + body for kind, body in boxes)


def xmp_packet(mark: Mark, kept: bytes = b"") -> bytes:
    """An XMP packet that holds the mark; what is kept of the source's packet stays in front of it."""
    described = f'<rdf:Description rdf:about="" xmlns:watcherd="{_NAMESPACE}" watcherd:mark="{mark}"/>'.encode()
    end = kept.rfind(b"</rdf:RDF>")
    if end > 0:
        return kept[:end] + described + kept[end:]
    return _EMPTY_PACKET + described + _PACKET_END
