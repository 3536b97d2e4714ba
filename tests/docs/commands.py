"""Commands in README and docs: found, made short, and pointed at a stack on ports of its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
# What a fence without a language holds when it is typed: a command of ours, or curl.
_TYPED: Final = re.compile(r"^(?:[A-Z_]+=\S+ )*(?:penstock|curl) ", re.MULTILINE)
_FENCED: Final = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_INLINE: Final = re.compile(r"`(?:[A-Z_]+=\S+ )*(?:taskset -c 0 )?(?:\.venv/bin/)?penstock ([^`]+)`")
# In a block: up to what ends a command, quoted or not.
_COMMAND: Final = re.compile(r"""(?:^|[ /])penstock ([a-z](?:"[^"]*"|'[^']*'|[^|&;>\n"'])*)""")
# What a person would wait minutes for is run small: the command is the same, its sizes are not.
_SHORTER: Final = (
    (r"--events 2000000", "--events 60000"),
    (r"--rate 20000 --seconds 60", "--rate 1000 --seconds 2 --known-ids 1000"),
    (r"bench pipeline (\S+)", r"bench pipeline \1 --epoch-seconds 0.01"),
    (r"bench restart\b", "bench restart --event-ids 2000 --campaigns 20"),
    (r"bench openrtb\b", "bench openrtb --rate 50 --seconds 1"),
    (r"simulate --scenario all --strategy all", "simulate --scenario steady --strategy max_clicks"),
    (r"generate-auctions (\S+)", r"generate-auctions \1 --auctions 5000"),
    # Folders of a real machine.
    (r"/backups/2026-05-28", "backup"),
    (r"/var/lib/penstock-new", "restored"),
)


class Block(NamedTuple):
    """A fenced block of shell commands, by page and number from 1."""

    page: str
    number: int
    text: str

    @property
    def first_line(self) -> str:
        """Its first line that is no remark."""
        return next(line for line in self.text.splitlines() if line and not line.startswith("#"))


def blocks() -> list[Block]:
    """All blocks in the order of the pages."""
    return [
        Block(str(page.relative_to(ROOT)), number, text)
        for page in PAGES
        for number, text in enumerate(_shell_of(page.read_text()), start=1)
    ]


def _shell_of(page: str) -> list[str]:
    fences = _FENCE.findall(page)
    return [text for language, text in fences if language in ("sh", "bash") or (not language and _TYPED.search(text))]


def named_commands() -> list[tuple[str, str]]:
    """(page, words behind `penstock`) of every command that is named in the text or stands in a block."""
    found = []
    for page in PAGES:
        text = page.read_text()
        name = str(page.relative_to(ROOT))
        found += [(name, words) for words in _INLINE.findall(_FENCED.sub("", text))]
        for block in _shell_of(text):
            for line in re.sub(r"\\\n\s*", " ", block).splitlines():
                command = line.partition(" #")[0]
                found += [(name, words) for words in _COMMAND.findall(command)]
    return found


def shortened(text: str, *, port: int, clickhouse_port: int) -> str:
    """The commands with their sizes made small and their addresses changed to the stack's."""
    for pattern, replacement in _SHORTER:
        text = re.sub(pattern, replacement, text)
    return text.replace(":8000", f":{port}").replace(":8123", f":{clickhouse_port}")
