"""A small file system of one's own, by the kernel's FUSE protocol, for tests: it can be stopped dead, and go on.

Responsible for: serving a folder of the disk at a mount point, from a process of its own (which a test may stop).
Not responsible for: speed, permissions, links, or anything that the daemon does not need. Needs root and /dev/fuse, and
no library.

The protocol: linux/fuse.h, version 7.31. Each request is a header and a body, read at once; each has one reply.
Run as a program it takes the backing folder and the mount point, and ends when it is unmounted.
"""

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Callable
from contextlib import suppress

_IN = struct.Struct("<IIQQIIII")
_OUT = struct.Struct("<IiQ")
_ATTR = struct.Struct("<QQQQQQIIIIIIIIII")
_TTL = struct.Struct("<QQII")
_BUFFER = 256 * 1024
_ROOT = 1


class Served:
    """A backing folder as the kernel sees it: numbers for paths."""

    def __init__(self, backing: str, device: int) -> None:
        self.device = device
        self.paths = {_ROOT: backing}
        self.numbers = {backing: _ROOT}
        self.open: dict[int, int] = {}
        self.next = _ROOT + 1

    # ---- numbers and attributes

    def number(self, path: str) -> int:
        if path not in self.numbers:
            self.numbers[path] = self.next
            self.paths[self.next] = path
            self.next += 1
        return self.numbers[path]

    def renamed(self, old: str, new: str) -> None:
        number = self.numbers.pop(old, None)
        stale = self.numbers.pop(new, None)
        if stale is not None:
            self.paths[stale] = new + "\0gone"
        if number is not None:
            self.numbers[new], self.paths[number] = number, new

    def attributes(self, path: str) -> bytes:
        found = os.lstat(path)
        seconds = [int(value // 10**9) for value in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)]
        parts = [int(value % 10**9) for value in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)]
        return _ATTR.pack(
            self.number(path), found.st_size, found.st_blocks, *seconds, *parts,
            found.st_mode, found.st_nlink, found.st_uid, found.st_gid, 0, 4096, 0,
        )  # fmt: skip

    def entry(self, path: str) -> bytes:
        attributes = self.attributes(path)  # first: it may not be there
        return struct.pack("<QQQQII", self.number(path), 0, 0, 0, 0, 0) + attributes

    # ---- requests

    def init(self, _node: int, body: bytes) -> bytes:
        major, _minor, readahead = struct.unpack_from("<III", body)
        return struct.pack("<IIIIHHIIHHI7I", major, 31, readahead, 0, 12, 10, 128 * 1024, 1, 0, 0, 0, *[0] * 7)

    def lookup(self, node: int, body: bytes) -> bytes:
        return self.entry(os.path.join(self.paths[node], os.fsdecode(body.rstrip(b"\0"))))

    def getattr(self, node: int, _body: bytes) -> bytes:
        return struct.pack("<QII", 0, 0, 0) + self.attributes(self.paths[node])

    def setattr(self, node: int, body: bytes) -> bytes:
        valid, _, _, size = struct.unpack_from("<IIQQ", body)
        mode = struct.unpack_from("<I", body, 68)[0]
        path = self.paths[node]
        if valid & 1:
            os.chmod(path, mode & 0o7777)
        if valid & 8:
            os.truncate(path, size)
        return self.getattr(node, b"")

    def _opened(self, descriptor: int) -> bytes:
        self.open[descriptor] = descriptor
        return struct.pack("<QII", descriptor, 1, 0)

    def open_file(self, node: int, body: bytes) -> bytes:
        flags = struct.unpack_from("<I", body)[0]
        kept = flags & (os.O_ACCMODE | os.O_TRUNC | os.O_APPEND)
        return self._opened(os.open(self.paths[node], kept | os.O_CLOEXEC))

    def open_folder(self, node: int, _body: bytes) -> bytes:
        return self._opened(os.open(self.paths[node], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    def create(self, node: int, body: bytes) -> bytes:
        flags, mode = struct.unpack_from("<II", body)
        path = os.path.join(self.paths[node], os.fsdecode(body[16:].rstrip(b"\0")))
        kept = flags & (os.O_ACCMODE | os.O_EXCL | os.O_TRUNC)
        descriptor = os.open(path, kept | os.O_CREAT | os.O_CLOEXEC, mode & 0o7777)
        return self.entry(path) + self._opened(descriptor)

    def read(self, _node: int, body: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", body)
        return os.pread(handle, size, offset)

    def write(self, _node: int, body: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", body)
        return struct.pack("<II", os.pwrite(handle, body[40 : 40 + size], offset), 0)

    def read_folder(self, node: int, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", body)
        told = b""
        for place, name in enumerate(sorted(os.listdir(self.paths[node])), 1):
            raw = os.fsencode(name)
            kind = os.lstat(os.path.join(self.paths[node], name)).st_mode >> 12
            number = self.number(os.path.join(self.paths[node], name))
            item = struct.pack("<QQII", number, place, len(raw), kind) + raw
            item += bytes(-len(item) % 8)
            if place > offset:
                if len(told) + len(item) > size:
                    break
                told += item
        return told

    def release(self, _node: int, body: bytes) -> bytes:
        os.close(self.open.pop(struct.unpack_from("<Q", body)[0]))
        return b""

    def sync(self, _node: int, _body: bytes) -> bytes:
        return b""

    def make_folder(self, node: int, body: bytes) -> bytes:
        path = os.path.join(self.paths[node], os.fsdecode(body[8:].rstrip(b"\0")))
        os.mkdir(path, struct.unpack_from("<I", body)[0] & 0o7777)
        return self.entry(path)

    def unlink(self, node: int, body: bytes) -> bytes:
        path = os.path.join(self.paths[node], os.fsdecode(body.rstrip(b"\0")))
        os.unlink(path)
        number = self.numbers.pop(path, None)
        if number is not None:
            self.paths[number] = path + "\0gone"
        return b""

    def remove_folder(self, node: int, body: bytes) -> bytes:
        os.rmdir(os.path.join(self.paths[node], os.fsdecode(body.rstrip(b"\0"))))
        return b""

    def rename(self, node: int, body: bytes) -> bytes:
        return self._rename(node, struct.unpack_from("<Q", body)[0], body[8:], no_replace=False)

    def rename_by_rule(self, node: int, body: bytes) -> bytes:
        target, flags = struct.unpack_from("<QI", body)
        if flags & ~1:
            raise OSError(errno.EINVAL, "no such rule")
        return self._rename(node, target, body[16:], no_replace=bool(flags & 1))

    def _rename(self, node: int, target: int, names: bytes, *, no_replace: bool) -> bytes:
        one, other = names.split(b"\0")[:2]
        old = os.path.join(self.paths[node], os.fsdecode(one))
        new = os.path.join(self.paths[target], os.fsdecode(other))
        if no_replace and os.path.lexists(new):
            raise OSError(errno.EEXIST, "it is there")
        os.rename(old, new)
        self.renamed(old, new)
        return b""

    def statfs(self, node: int, _body: bytes) -> bytes:
        found = os.statvfs(self.paths[node])
        return struct.pack(
            "<QQQQQIIII24x", found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree,
            found.f_bsize, 255, found.f_frsize, 0,
        )  # fmt: skip

    def serve(self) -> None:
        """Answer until unmounted."""
        answers: dict[int, Callable[[int, bytes], bytes]] = {
            1: self.lookup, 3: self.getattr, 4: self.setattr, 9: self.make_folder, 10: self.unlink,
            11: self.remove_folder, 12: self.rename, 14: self.open_file, 15: self.read, 16: self.write,
            17: self.statfs, 18: self.release, 20: self.sync, 25: self.sync, 26: self.init, 27: self.open_folder,
            28: self.read_folder, 29: self.release, 30: self.sync, 35: self.create, 45: self.rename_by_rule,
        }  # fmt: skip
        while True:
            try:
                request = os.read(self.device, _BUFFER)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                    continue
                raise
            _, code, unique, node, *_ = _IN.unpack_from(request)
            if code in (2, 36, 42):  # forget, interrupt, forget many: nobody waits for an answer
                continue
            self._answer(unique, code, answers.get(code), node, request[_IN.size :])

    def _answer(
        self, unique: int, _code: int, answer: Callable[[int, bytes], bytes] | None, node: int, body: bytes
    ) -> None:
        number, told = 0, b""
        try:
            if answer is None:
                number = errno.ENOSYS
            else:
                told = answer(node, body)
        except OSError as error:
            number = error.errno or errno.EIO
        except KeyError:
            number = errno.ESTALE
        with suppress(FileNotFoundError):  # who asked has been killed
            os.write(self.device, _OUT.pack(_OUT.size + len(told), -number, unique) + told)


def main(backing: str, point: str) -> None:
    """Mount and serve."""
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    if libc.mount(b"watcherd-test", os.fsencode(point), b"fuse.watcherd-test", 0, options.encode()):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), point)
    print("mounted", flush=True)
    Served(os.path.realpath(backing), device).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
