"""A machine's disk in memory: `ingest.local_log.disk.Disk`, with what a power loss, a full disk and a bad block do."""

from __future__ import annotations

import errno
import os
from collections import deque
from dataclasses import dataclass, field
from random import Random

from ingest.local_log.disk import FileState
from tests.simulation.clock import SimClock
from tests.simulation.process import KilledError


class PowerLostError(BaseException):
    """The machine is off; every process is gone."""


@dataclass(eq=False)
class Inode:
    """A file: what reading it shows, and what is on the platters."""

    content: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    links: int = 1
    written_ms: int = 0
    locked_by: object = None


class Names:
    """Paths of files, listed by folder in the time that the folder takes."""

    def __init__(self) -> None:
        self._by_folder: dict[str, dict[str, Inode]] = {}

    def get(self, path: str) -> Inode | None:
        folder, _, name = path.rpartition("/")
        return self._by_folder.get(folder, {}).get(name)

    def put(self, path: str, inode: Inode | None) -> None:
        """Give a name to a file; None takes it away."""
        folder, _, name = path.rpartition("/")
        there = self._by_folder.setdefault(folder, {})
        if inode is None:
            there.pop(name, None)
        else:
            there[name] = inode

    def of_folder(self, folder: str) -> dict[str, Inode]:
        return self._by_folder.get(folder, {})

    def copy(self) -> Names:
        copied = Names()
        copied._by_folder = {folder: dict(there) for folder, there in self._by_folder.items()}
        return copied

    def paths(self) -> set[str]:
        return {f"{folder}/{name}" for folder, there in self._by_folder.items() for name in there}


class SimDisk:
    """All files of a machine. Processes see it through mounts of their own, so that what they hold ends with them."""

    def __init__(self, clock: SimClock, rng: Random) -> None:
        self._clock = clock
        self._rng = rng
        self.names = Names()
        self._mounts: dict[str, Mount] = {}
        # Each folder's folders.
        self.folders: dict[str, set[str]] = {"": set()}
        # What is on the platters, and changes of names that are not, in their order, as a journal has them: each is of
        # names that change together.
        self._durable = Names()
        self._durable_folders: set[str] = {""}
        self._journal: list[dict[str, Inode | None]] = []
        # Bytes that still fit; None: as many as you like.
        self.room: int | None = None
        # What befalls the next syncs: "error" or "slow".
        self.next_syncs: deque[str] = deque()
        # Changing calls until the power goes; None: it stays.
        self.fuse: int | None = None

    def mount(self, process: str) -> Mount:
        """The files as a process sees them from its start on."""
        self.end(process)
        mounted = self._mounts[process] = Mount(self)
        return mounted

    def end(self, process: str) -> None:
        """A process is gone: its files are closed, its locks given up."""
        if (mounted := self._mounts.pop(process, None)) is not None:
            mounted.end()

    def end_all(self) -> None:
        """Every process is gone."""
        for process in list(self._mounts):
            self.end(process)

    def kill_in_write(self, process: str, calls: int) -> None:
        """A process is killed in the middle of a changing call: the next but so many."""
        if process in self._mounts:
            self._mounts[process].fuse = calls

    def calm(self) -> None:
        """No more faults."""
        self.room = self.fuse = None
        self.next_syncs.clear()
        for mounted in self._mounts.values():
            mounted.fuse = None

    def lose_power(self) -> None:
        """What was synced stays; of the rest some does, whole, torn or as zeros."""
        self.fuse = None
        self._commit(self._rng.randrange(len(self._journal) + 1))
        self._journal.clear()
        self.names = self._durable.copy()
        self.folders = {
            folder: {name for name in names if inside(folder, name) in self._durable_folders}
            for folder, names in self.folders.items()
            if folder in self._durable_folders
        }
        inodes = [inode for path in sorted(self.names.paths()) if (inode := self.names.get(path)) is not None]
        for inode in {id(inode): inode for inode in inodes}.values():
            inode.content = bytearray(self._survived(inode))
            inode.synced = bytes(inode.content)
            inode.locked_by = None
            inode.links = sum(other is inode for other in inodes)

    def _survived(self, inode: Inode) -> bytes:
        synced, shown = inode.synced, bytes(inode.content)
        if not shown.startswith(synced):
            return self._rng.choice((synced, shown))
        tail = shown[len(synced) :]
        if not tail:
            return synced
        torn = self._rng.randrange(len(tail) + 1)
        match self._rng.randrange(4):
            case 0:
                return synced
            case 1:
                return synced + tail[:torn]
            case 2:
                return synced + tail[:torn] + bytes(len(tail) - torn)
            case _:
                return synced + bytes(torn) + tail[torn:]

    def flip(self, path: str, position: int) -> None:
        """A bad block: one bit of a file is another."""
        inode = self.names.get(path)
        assert inode is not None
        inode.content[position] ^= 1
        inode.synced = bytes(inode.content)

    # What mounts ask for.

    def changing(self) -> None:
        """Called before anything changes."""
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                raise PowerLostError

    def put(self, inode: Inode, content: bytes, position: int) -> int:
        taken = len(content) if self.room is None else min(len(content), self.room)
        if self.room is not None:
            self.room -= taken
            if taken == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
        inode.content[position : position + taken] = content[:taken]
        inode.written_ms = self._clock.wall_ms()
        return taken

    def sync(self, inode: Inode) -> None:
        fate = self.next_syncs.popleft() if self.next_syncs else ""
        if fate == "slow":
            self._clock.wait(2_000)
        if fate == "error":
            raise OSError(errno.EIO, "Input/output error")
        inode.synced = bytes(inode.content)

    def rename(self, changes: dict[str, Inode | None]) -> None:
        """Names appear or go (None), all of them or none."""
        for path, inode in changes.items():
            self.names.put(path, inode)
        self._journal.append(changes)

    def sync_names(self) -> None:
        """A file system's journal is written as a whole: with a folder's names come all before."""
        self._commit(len(self._journal))

    def _commit(self, count: int) -> None:
        for changes in self._journal[:count]:
            for path, inode in changes.items():
                self._durable.put(path, inode)
        del self._journal[:count]
        self._durable_folders |= {folder_of(path) for path in self._durable.paths()}
        self._durable_folders |= {folder_of(folder) for folder in self._durable_folders}


def folder_of(path: str) -> str:
    return path.rpartition("/")[0]


def inside(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


class Mount:
    """One process's calls: implements `Disk`. Nothing happens any more once the process is killed."""

    def __init__(self, disk: SimDisk) -> None:
        self._disk = disk
        self._open: dict[int, tuple[Inode, int]] = {}
        self._next = 3
        self.dead = False
        # Changing calls until the process is killed in the middle of one; None: it is not.
        self.fuse: int | None = None

    def end(self) -> None:
        """The process is gone: its files are closed, its locks given up."""
        self.dead = True
        for fd in list(self._open):
            self._let_go(fd)

    def open(self, path: str, flags: int) -> int:
        self._living()
        inode = self._disk.names.get(path)
        if inode is None:
            if not flags & os.O_CREAT:
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
            if folder_of(path) not in self._disk.folders:
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
            self._changing()
            inode = Inode()
            self._disk.rename({path: inode})
        elif flags & os.O_TRUNC:
            self._changing()
            inode.content.clear()
        self._next += 1
        self._open[self._next] = inode, flags
        return self._next

    def close(self, fd: int) -> None:
        self._living()
        self._let_go(fd)

    def pread(self, fd: int, size_bytes: int, position: int) -> bytes:
        return bytes(self._inode(fd).content[position : position + size_bytes])

    def write(self, fd: int, content: bytes | memoryview) -> int:
        self._changing()
        inode = self._inode(fd)
        # A process can die, or the power go, between two parts of a write.
        return self._disk.put(inode, bytes(content), len(inode.content))

    def pwrite(self, fd: int, content: bytes, position: int) -> int:
        self._changing()
        return self._disk.put(self._inode(fd), content, position)

    def fdatasync(self, fd: int) -> None:
        self._changing()
        self._disk.sync(self._inode(fd))

    def fsync(self, fd: int) -> None:
        self.fdatasync(fd)

    def ftruncate(self, fd: int, size_bytes: int) -> None:
        self._changing()
        inode = self._inode(fd)
        del inode.content[size_bytes:]
        inode.content.extend(bytes(size_bytes - len(inode.content)))

    def fstat(self, fd: int) -> FileState:
        return _state(self._inode(fd))

    def stat(self, path: str) -> FileState:
        return _state(self._at(path))

    def exists(self, path: str) -> bool:
        self._living()
        return self._disk.names.get(path) is not None or path in self._disk.folders

    def listdir(self, folder: str) -> list[str]:
        self._living()
        if self._disk.names.get(folder) is not None:
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", folder)
        if folder not in self._disk.folders:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", folder)
        return sorted([*self._disk.names.of_folder(folder), *self._disk.folders[folder]])

    def makedirs(self, folder: str) -> None:
        self._living()
        while folder not in self._disk.folders:
            self._disk.folders[folder] = set()
            above, _, name = folder.rpartition("/")
            self.makedirs(above)
            self._disk.folders[above].add(name)

    def sync_folder(self, folder: str) -> None:
        self._changing()
        self._disk.sync_names()

    def replace(self, source: str, target: str) -> None:
        self._changing()
        inode = self._at(source)
        if (before := self._disk.names.get(target)) is not None:
            before.links -= 1
        self._disk.rename({source: None, target: inode})

    def link(self, source: str, target: str) -> None:
        self._changing()
        if self._disk.names.get(target) is not None:
            raise FileExistsError(errno.EEXIST, "File exists", target)
        inode = self._at(source)
        inode.links += 1
        self._disk.rename({target: inode})

    def unlink(self, path: str) -> None:
        self._changing()
        self._at(path).links -= 1
        self._disk.rename({path: None})

    def chmod(self, path: str, mode: int) -> None:
        self._living()

    def set_written(self, path: str, written_ms: int) -> None:
        self._at(path).written_ms = written_ms

    def lock(self, fd: int) -> None:
        assert self.try_lock(fd), "in one thread nobody else can hold a lock for a moment only"

    def try_lock(self, fd: int) -> bool:
        inode = self._inode(fd)
        if inode.locked_by not in (None, (self, fd)):
            return False
        inode.locked_by = (self, fd)
        return True

    def unlock(self, fd: int) -> None:
        inode = self._inode(fd)
        if inode.locked_by == (self, fd):
            inode.locked_by = None

    def _living(self) -> None:
        if self.dead:
            raise KilledError

    def _changing(self) -> None:
        self._living()
        self._disk.changing()
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                self.end()
                raise KilledError

    def _inode(self, fd: int) -> Inode:
        self._living()
        found = self._open.get(fd)
        if found is None:
            raise OSError(errno.EBADF, "Bad file descriptor")
        return found[0]

    def _at(self, path: str) -> Inode:
        self._living()
        inode = self._disk.names.get(path)
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return inode

    def _let_go(self, fd: int) -> None:
        inode, _ = self._open.pop(fd)
        if inode.locked_by == (self, fd):
            inode.locked_by = None


def _state(inode: Inode) -> FileState:
    return FileState(len(inode.content), inode.links, inode.written_ms)
