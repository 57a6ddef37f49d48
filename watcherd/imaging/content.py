"""The bytes of an upload, as all of imaging takes them; and a file object over them."""

import io
import mmap

Content = bytes | mmap.mmap
"""A mapped memory file in a worker, plain bytes in tests and in the library."""


class Window(io.RawIOBase):
    """For libraries that want to read and seek: nothing is copied but what is read. Closing it lets go of the bytes."""

    def __init__(self, data: Content) -> None:
        self._view = memoryview(data)
        self._position = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        """Read what is there, as far as it fits."""
        part = self._view[self._position : self._position + len(target)]
        target[: len(part)] = part
        self._position += len(part)
        return len(part)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; one behind the end is none, and nothing can be read there."""
        start = (0, self._position, len(self._view))[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def close(self) -> None:
        """Let go of the bytes."""
        self._view.release()
        super().close()
