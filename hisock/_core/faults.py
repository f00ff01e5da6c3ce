"""What handlers raise: an answer to the caller, a message that does not fit, or a fault."""

from __future__ import annotations

import logging

from hisock._core.client_info import ClientInfo
from hisock._core.error_handlers import BoundErrorHandler, ErrorContext
from hisock._core.log_fields import fields
from hisock._core.reporting import LogLimit, loggable, one_line
from hisock.exceptions import InvalidTypeCast, RemoteError


def is_answer(exc: BaseException) -> bool:
    """Whether an exception is the answer of a handler to its caller, and no fault.

    A ``RemoteError`` of another peer, which the handler got from a call and let pass, is a fault.
    """
    return isinstance(exc, RemoteError) and not exc._received


def is_misfit(exc: BaseException) -> bool:
    """Whether the handler was not even called, because the message does not fit its type."""
    return isinstance(exc, InvalidTypeCast) and exc._source == "input"


def log_answer(exc: BaseException, command: str, client: ClientInfo | None) -> None:
    """Log the error that a handler answered with."""
    logger = logging.getLogger("hisock.client" if client is None else "hisock.server")
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug(
            "the handler of %r refused%s: %s",
            command,
            _for(client),
            one_line(exc),
            extra=fields("command_refused", client=client, command=command, reason=exc),
        )


class FaultLog:
    """Logs the faults of handlers: with a traceback, or in one line for a message that misfits.

    :param failures: keeps a flood of tracebacks from being logged; ``None`` for no limit.
    """

    def __init__(self, logger: logging.Logger, failures: LogLimit | None = None) -> None:
        self._log = logger
        self._failures = failures
        #: Anybody may send any number of these.
        self._misfits = LogLimit()

    def log(
        self, exc: Exception, command: str | None, client: ClientInfo | None, now: float
    ) -> None:
        """Log one, and before it how many were withheld.

        :param now: the time in seconds, on a clock that only goes forward.
        """
        if is_misfit(exc):
            if self._misfits.permits(now):
                self._log_misfit(exc, command, client)
        elif self._failures is None or self._failures.permits(now):
            self._log_failure(exc, command, client)

    def _log_misfit(self, exc: Exception, command: str | None, client: ClientInfo | None) -> None:
        if self._misfits.withheld:
            count = self._misfits.reset()
            said = fields("message_invalid", withheld=count)
            self._log.warning("%d more messages did not fit their handlers", count, extra=said)
        self._log.warning(
            "the handler of %r was not called%s: %s",
            command,
            _for(client),
            one_line(exc),
            extra=fields("message_invalid", client=client, command=command, reason=exc),
        )

    def _log_failure(self, exc: Exception, command: str | None, client: ClientInfo | None) -> None:
        if self._failures is not None and self._failures.withheld:
            count = self._failures.reset()
            said = fields("handler_failed", withheld=count)
            self._log.error(
                "%d more errors of handlers, which were not logged one by one", count, extra=said
            )
        shown = loggable(exc)
        self._log.error(
            "the handler of %r failed%s: %s",
            command,
            _for(client),
            one_line(shown),
            exc_info=shown,
            extra=fields("handler_failed", client=client, command=command, reason=shown),
        )


def _for(client: ClientInfo | None) -> str:
    return "" if client is None else f" for {client.shown()}"


def tell(
    error_handler: BoundErrorHandler | None,
    exc: Exception,
    command: str | None,
    client: ClientInfo | None,
    logger: logging.Logger,
) -> None:
    """Call the program's error handler, if there is one; its own errors are logged."""
    if error_handler is None:
        return
    try:
        error_handler(exc, ErrorContext(command, client))
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as failure:
        said = fields("error_handler_failed", client=client, command=command)
        logger.error("the error handler failed", exc_info=loggable(failure), extra=said)
