"""Memory that ends where no byte may be read: a kernel that reads past its end ends the process."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np
from numpy.typing import NDArray

from schemas.decode.buffers import Payload, padded

_PAGE = mmap.PAGESIZE
_FIRST_BYTES = 64 * _PAGE


class Guard:
    """Room for bytes before a page that cannot be read."""

    def __init__(self, size: int = _FIRST_BYTES) -> None:
        self._size = -(-size // _PAGE) * _PAGE
        self._map = mmap.mmap(-1, self._size + _PAGE)
        self._bytes = np.frombuffer(self._map, np.uint8)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mprotect(ctypes.c_void_p(self._bytes.ctypes.data + self._size), ctypes.c_size_t(_PAGE), 0) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")

    def filled(self, data: bytes) -> NDArray[np.uint8]:
        """The bytes, right before the page; good until the next call."""
        if len(data) > self._size:
            self.__init__(2 * len(data))  # type: ignore[misc]
        view = self._bytes[self._size - len(data) : self._size]
        view[:] = np.frombuffer(data, np.uint8)
        return view


_LINES, _TAIL = Guard(), Guard()


class GuardedPayload(Payload):
    """A payload whose lines, and whose padded copy of the last ones, lie right before such pages."""

    def __init__(self, payload: bytes) -> None:
        super().__init__(payload)
        self._view = _LINES.filled(self.bytes)
        self._tail = _TAIL.filled(padded(self.bytes[self._tail_start :]).tobytes())
