"""The application's log as lines of JSON, one an event (``log.format: json``)."""

from __future__ import annotations

import json
import logging
import math
from datetime import UTC, datetime
from typing import IO, Any

from twisted.application.service import IService, MultiService
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

SHORT = (str, int, float, bool)
"""Kinds of fields that stand in a line as they are; others do only where the message shows them."""

_OURS = frozenset(("time", "level", "logger", "message", "process", "failure", "format", "isError", "system", "why"))


@implementer(ILogObserver)
class JsonLines:
    """Writes them. Each has ``time``, ``level``, ``logger`` and ``message``, and the fields that were logged with it.

    :param process: which of several processes this is; 0 where there is but one.
    """

    def __init__(self, out: IO[str], process: int = 0) -> None:
        self._out = out
        self._process = {"process": process} if process else {}

    def __call__(self, event: LogEvent) -> None:
        """See `ILogObserver`."""
        self._out.write(json.dumps(self._line(event)) + "\n")
        self._out.flush()

    def _line(self, event: LogEvent) -> dict[str, Any]:
        when = datetime.fromtimestamp(event.get("log_time", 0.0), UTC)
        level = event.get("log_level", LogLevel.info)
        line = {
            "time": when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}Z",
            "level": level.name,
            "logger": event.get("log_namespace", ""),
            **self._process,
            "message": formatEvent(event),
        }
        for name, value in event.items():
            if not name.startswith("log_") and name not in _OURS and isinstance(value, SHORT):
                line[name] = value if not isinstance(value, float) or math.isfinite(value) else str(value)
        failure = event.get("log_failure")
        if isinstance(failure, Failure):
            line["failure"] = failure.getTraceback()
        return line


class FromLogging(logging.Handler):
    """Has what libraries say to Python's own `logging`, from threads of theirs too, stand in the same lines."""

    def __init__(self, observer: ILogObserver) -> None:
        super().__init__(logging.WARNING)
        self._observer = observer

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        logger = Logger(record.name, observer=self._observer)
        level = LogLevel.error if record.levelno >= logging.ERROR else LogLevel.warn
        told = {}
        if record.exc_info is not None and record.exc_info[1] is not None:
            kind, error, trace = record.exc_info
            told["log_failure"] = Failure(error, kind, trace)
        logger.emit(level, "{text}", text=record.getMessage(), **told)


class InJson(MultiService):
    """A service whose application logs so."""

    def __init__(self, service: IService, observer: ILogObserver) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._observer = observer
        self.addService(service)  # type: ignore[no-untyped-call]

    def setServiceParent(self, parent: Any) -> None:
        """See `IService`; what runs an application asks it for its observer."""
        parent.setComponent(ILogObserver, self._observer)
        logging.getLogger().addHandler(FromLogging(self._observer))
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]
