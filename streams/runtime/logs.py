"""Structured logs on stderr: event name and ids, JSON a line; no personal data, no secrets, no bodies."""

import logging
import sys

import structlog

# No member of an event may carry these, whatever a caller passes.
_SECRET_MEMBERS = frozenset({"authorization", "bearer", "secret", "signature", "token", "payload"})

# By default every frame's locals are written too: bearers, keys, bodies.
_TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def _without_secrets(
    _logger: object, _method: str, event: "structlog.typing.EventDict"
) -> "structlog.typing.EventDict":
    for member in _SECRET_MEMBERS & event.keys():
        event[member] = "[withheld]"
    return event


def set_up_logs(program: str, *, level: int = logging.INFO) -> None:
    """Once, in `bootstrap`."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_secrets,
            _TRACEBACKS,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(program=program)
