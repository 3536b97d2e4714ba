"""What the local log asks of a disk: file calls like the operating system's, so that tests can put another below."""

from __future__ import annotations

import fcntl
import os
from typing import NamedTuple, Protocol

# Nobody but the user that runs Penstock reads or writes the log.
FILE_MODE = 0o600
FOLDER_MODE = 0o700


class FileState(NamedTuple):
    """A file's size, how many names it has (0: removed or replaced), and when it was last written."""

    size_bytes: int
    links: int
    written_ms: int


class Disk(Protocol):
    """Calls behave, and raise OSError, as those of `os` by the same name. Paths are absolute or all relative alike.

    Only what was synced outlives a power loss: content by `fdatasync` or `fsync`, names by `sync_folder`.
    """

    def open(self, path: str, flags: int) -> int:
        """A file descriptor; a file made by O_CREAT has mode FILE_MODE."""
        ...

    def close(self, fd: int) -> None: ...

    def pread(self, fd: int, size_bytes: int, position: int) -> bytes:
        """At most size_bytes from `position` on; fewer at the end of the file."""
        ...

    def write(self, fd: int, content: bytes | memoryview) -> int:
        """Bytes taken, perhaps not all; files opened with O_APPEND take them at their end."""
        ...

    def pwrite(self, fd: int, content: bytes, position: int) -> int:
        """Bytes taken at `position`; never on files opened with O_APPEND."""
        ...

    def fdatasync(self, fd: int) -> None: ...

    def fsync(self, fd: int) -> None: ...

    def ftruncate(self, fd: int, size_bytes: int) -> None: ...

    def fstat(self, fd: int) -> FileState: ...

    def stat(self, path: str) -> FileState: ...

    def exists(self, path: str) -> bool: ...

    def listdir(self, folder: str) -> list[str]: ...

    def makedirs(self, folder: str) -> None:
        """Make a folder and those above it with FOLDER_MODE; one that is there is fine."""
        ...

    def sync_folder(self, folder: str) -> None:
        """Make the names in a folder durable."""
        ...

    def replace(self, source: str, target: str) -> None: ...

    def link(self, source: str, target: str) -> None: ...

    def unlink(self, path: str) -> None: ...

    def chmod(self, path: str, mode: int) -> None:
        """Nothing when the mode is that already."""
        ...

    def set_written(self, path: str, written_ms: int) -> None:
        """Set when a file was last written."""
        ...

    def lock(self, fd: int) -> None:
        """Wait for the lock on an open file that no other opening of it has; a process that dies lets go."""
        ...

    def try_lock(self, fd: int) -> bool:
        """The lock without waiting; False when another opening has it."""
        ...

    def unlock(self, fd: int) -> None: ...


class RealDisk:
    """`Disk` on the operating system."""

    def open(self, path: str, flags: int) -> int:
        return os.open(path, flags, FILE_MODE)

    def close(self, fd: int) -> None:
        os.close(fd)

    def pread(self, fd: int, size_bytes: int, position: int) -> bytes:
        return os.pread(fd, size_bytes, position)

    def write(self, fd: int, content: bytes | memoryview) -> int:
        return os.write(fd, content)

    def pwrite(self, fd: int, content: bytes, position: int) -> int:
        return os.pwrite(fd, content, position)

    def fdatasync(self, fd: int) -> None:
        os.fdatasync(fd)

    def fsync(self, fd: int) -> None:
        os.fsync(fd)

    def ftruncate(self, fd: int, size_bytes: int) -> None:
        os.ftruncate(fd, size_bytes)

    def fstat(self, fd: int) -> FileState:
        return _state(os.fstat(fd))

    def stat(self, path: str) -> FileState:
        return _state(os.stat(path))

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def listdir(self, folder: str) -> list[str]:
        return os.listdir(folder)

    def makedirs(self, folder: str) -> None:
        above = os.path.dirname(folder)
        if above and not os.path.isdir(above):
            self.makedirs(above)
        try:
            os.mkdir(folder, FOLDER_MODE)
        except FileExistsError:
            if not os.path.isdir(folder):
                raise

    def sync_folder(self, folder: str) -> None:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def replace(self, source: str, target: str) -> None:
        os.replace(source, target)

    def link(self, source: str, target: str) -> None:
        os.link(source, target)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def chmod(self, path: str, mode: int) -> None:
        if os.stat(path).st_mode & 0o777 != mode:
            os.chmod(path, mode)

    def set_written(self, path: str, written_ms: int) -> None:
        os.utime(path, ns=(written_ms * 1_000_000, written_ms * 1_000_000))

    def lock(self, fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX)

    def try_lock(self, fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(self, fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)


def _state(found: os.stat_result) -> FileState:
    return FileState(found.st_size, found.st_nlink, found.st_mtime_ns // 1_000_000)


def write_all(disk: Disk, fd: int, content: bytes) -> None:
    """Write every byte; raises OSError when the disk takes no more, with a part written."""
    view = memoryview(content)
    while view:
        view = view[disk.write(fd, view) :]
