"""Compile the numba kernels once, so that no first event waits for a compiler. Run by `make warm`."""

from __future__ import annotations

import time

from rich.console import Console


def warm(console: Console) -> float:
    """Run every kernel on a small batch; seconds it took."""
    began = time.monotonic()
    with console.status("compiling kernels (about a minute the first time)"):
        from flows.warm import load_kernels

        load_kernels()
    return time.monotonic() - began


if __name__ == "__main__":
    screen = Console(stderr=True)
    screen.print(f"kernels ready in {warm(screen):.1f} s", highlight=False)
