"""The operating system's wall: a process that may touch its own folder and nothing else.

Landlock (Linux 5.13 and later) takes rights from a process for good, without any privilege: files outside a few folders
cannot be opened, TCP cannot be connected or bound (since 6.7). It holds whatever statement the engine runs, and for a
thread only from the call on: it has to come before the engine starts its threads.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_ASK_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_O_PATH: Final = 0o10000000

# linux/landlock.h: rights over files, by the ABI version that brought them.
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_ABI_1: Final = (1 << 13) - 1
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1
_SCOPE_ABSTRACT_UNIX_SOCKET, _SCOPE_SIGNAL = 1 << 0, 1 << 1
# Rights over TCP came with this ABI.
NETWORK_SINCE: Final = 4

# Rights that a rule over a file, not a folder, may name.
_OF_FILES: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

# What an interpreter and the C library read while they run. Not /etc as a whole, not /proc, not /home.
_SYSTEM: Final = (
    "/usr/lib", "/lib", "/usr/lib64", "/lib64", "/usr/share/zoneinfo", "/etc/localtime", "/etc/ld.so.cache",
    "/dev/urandom", "/dev/random", "/proc/meminfo", "/proc/cpuinfo", "/sys/devices/system/cpu", "/sys/fs/cgroup",
)  # fmt: skip
_WRITABLE_SYSTEM: Final = ("/dev/null",)


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """The kernel's Landlock ABI; 0: there is none, or it is switched off."""
    if sys.platform != "linux":
        return 0
    found: int = _syscall(_CREATE_RULESET, None, 0, _ASK_VERSION)
    return max(0, found)


def _syscall(number: int, *given: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return int(libc.syscall(ctypes.c_long(number), *given))


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock: {os.strerror(code)}")
    return result


def _handled(abi: int) -> int:
    rights = _ABI_1
    for since, right in ((2, _REFER), (3, _TRUNCATE), (5, _IOCTL_DEV)):
        rights |= right if abi >= since else 0
    return rights


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, _O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _OF_FILES
        rule = _PathBeneath(rights, descriptor)
        _checked(_syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0))
    finally:
        os.close(descriptor)


def interpreter_folders() -> list[str]:
    """What Python reads code from: the standard library, installed packages, and this program's own packages; not the
    folder that it was started in."""
    paths = sysconfig.get_paths()
    folders = {Path(paths[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders |= {Path(entry) for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")}
    program = Path(__file__).resolve().parents[2]
    own = {program / name for name in ("penstock", "storage", "schemas", "cli")}
    return sorted(str(folder.resolve()) for folder in folders | own | {Path(sys.base_prefix) / "lib"})


def confine(readable: Iterable[str], writable: Iterable[str]) -> int:
    """Take from this process everything but reading below `readable` and all rights below `writable`; for good.

    Returns the ABI that holds it, 0 when the machine has none. Raises OSError. Call it before threads start.
    """
    abi = version()
    if abi == 0:
        return 0
    handled = _handled(abi)
    wanted = _Ruleset(handled, _BIND_TCP | _CONNECT_TCP if abi >= NETWORK_SINCE else 0, 0)
    if abi >= 6:
        wanted.scoped = _SCOPE_ABSTRACT_UNIX_SOCKET | _SCOPE_SIGNAL
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _checked(_syscall(_CREATE_RULESET, ctypes.byref(wanted), ctypes.c_size_t(size), 0))
    try:
        for path in (*_SYSTEM, *readable):
            _allow(ruleset, path, (_READ_FILE | _READ_DIR | _EXECUTE) & handled)
        for path in _WRITABLE_SYSTEM:
            _allow(ruleset, path, (_READ_FILE | _WRITE_FILE | _TRUNCATE) & handled)
        for path in writable:
            _allow(ruleset, path, handled & ~_EXECUTE)
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _checked(_syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return abi
