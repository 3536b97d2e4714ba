"""Logs of every process: one line an entry on stderr, as text for people or as JSON for programs."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Literal, TextIO

from cli.settings import Settings

Format = Literal["text", "json"]
Fields = Callable[[], Mapping[str, str]]

# An entry is one line; a longer message is the mark of data that does not belong in a log.
MESSAGE_MAX: Final = 4_000
_PLAIN: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}
_SECRET_NAME: Final = re.compile(r"password|secret|token|authorization|credential|api_?key|cookie", re.IGNORECASE)
_SECRET_IN_URL: Final = re.compile(r"(://[^\s/:@]*):[^\s/@]+@")
# They say once what the parts above them say in better words, again and again.
_LOUD: Final = {"clickhouse_connect": logging.ERROR, "urllib3": logging.ERROR, "httpx": logging.WARNING,
                "httpcore": logging.WARNING, "numba": logging.WARNING, "asyncio": logging.WARNING}  # fmt: skip

# What a process logs of its control database; a person who gave a command did not ask.
_MIGRATIONS: Final = "alembic"


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what stderr is when an entry is made: whoever replaces it gets what comes meanwhile."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """Where the next entry goes."""
        return sys.stderr


def for_people() -> None:
    """Keep what only an operator's log is for off the screen of whoever gives a command; `set_up` takes it back."""
    logging.getLogger(_MIGRATIONS).setLevel(logging.WARNING)


def set_up(process: str, settings: Settings, fields: Fields = dict) -> None:
    """Send all logging of this process to stderr; `fields` are added to each entry, such as the id of the request."""
    handler = _Stderr()
    handler.setFormatter(formatter(process, settings.log_format, fields))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    logging.getLogger(_MIGRATIONS).setLevel(logging.NOTSET)
    for name, level in _LOUD.items():
        logging.getLogger(name).setLevel(max(level, logging.getLogger().level))
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def say(process: str, settings: Settings, text: object, level: int = logging.INFO) -> None:
    """A line for whoever started this process: an entry where entries are JSON, else as it is."""
    if settings.log_format == "json":
        logging.getLogger("penstock").log(level, "%s", text)
    else:
        sys.stderr.write(f"penstock {process}: {text}\n")


def refuse(process: str, settings: Settings, reason: object) -> None:
    """Say in one line why this process ends."""
    say(process, settings, reason, logging.ERROR)


def formatter(process: str, form: Format, fields: Fields = dict) -> logging.Formatter:
    """What makes a line of an entry."""
    return _Json(process, fields) if form == "json" else _Text(process, fields)


class _Json(logging.Formatter):
    def __init__(self, process: str, fields: Fields) -> None:
        super().__init__()
        self._process = process
        self._fields = fields

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "process": self._process,
            "logger": record.name,
            "message": _safe(record.getMessage()),
            **extras(record, self._fields),
        }
        if record.exc_info:
            entry["exception"] = _safe(self.formatException(record.exc_info), MESSAGE_MAX * 4)
        return json.dumps(entry, default=str, ensure_ascii=False)


class _Text(logging.Formatter):
    def __init__(self, process: str, fields: Fields) -> None:
        super().__init__()
        self._process = process
        self._fields = fields

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        told = "".join(f" {name}={value}" for name, value in extras(record, self._fields).items())
        line = f"{time} {self._process}: {record.levelname} {_safe(record.getMessage())}{told}"
        return f"{line}\n{_safe(self.formatException(record.exc_info), MESSAGE_MAX * 4)}" if record.exc_info else line


def extras(record: logging.LogRecord, fields: Fields = dict) -> dict[str, Any]:
    """What an entry carries beside its message; what is named like a secret is hidden."""
    own = {name: value for name, value in record.__dict__.items() if name not in _PLAIN}
    said = {name: value for name, value in {**fields(), **own}.items() if value not in (None, "")}
    return {name: "***" if _SECRET_NAME.search(name) else value for name, value in said.items()}


def _safe(text: str, most: int = MESSAGE_MAX) -> str:
    return _SECRET_IN_URL.sub(r"\1:***@", text)[:most]


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("penstock").critical("ended by %s", kind.__name__, exc_info=(kind, error, trace))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        name = args.thread.name if args.thread is not None else "?"
        trace = (args.exc_type, args.exc_value, args.exc_traceback)
        logging.getLogger("penstock").critical("thread %s ended by %s", name, args.exc_type.__name__, exc_info=trace)
