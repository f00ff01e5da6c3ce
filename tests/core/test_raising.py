"""An exception that several get is a copy for each: as it was, but for its traceback."""

from __future__ import annotations

import errno

from hisock._core.raising import fresh
from hisock.exceptions import ConnectionLost, ConnectionRejected, FramingError, RemoteError


class Odd(Exception):
    """Its arguments are not what it is made of."""

    def __init__(self, where: str, *, line: int) -> None:
        super().__init__(f"{where}:{line}")
        self.line = line


def raised(exc: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise exc from cause
    except BaseException as caught:
        return caught


class Keyed(Exception):
    """It cannot be made of its arguments."""

    def __new__(cls, *, code: int) -> Keyed:
        return super().__new__(cls)

    def __init__(self, *, code: int) -> None:
        super().__init__(code)


def test_a_copy_says_what_the_exception_said() -> None:
    for exc in (
        ConnectionLost("gone"),
        ConnectionRejected("full"),
        FramingError("no header", 17),
        RemoteError("ValueError: no"),
        OSError(errno.EPIPE, "Broken pipe"),
        KeyboardInterrupt(),
        OSError(errno.ENOENT, "No such file", "sock"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        Odd("here", line=3),
    ):
        made = fresh(raised(exc))
        assert type(made) is type(exc)
        assert (str(made), made.args, vars(made)) == (str(exc), exc.args, vars(exc))
        assert made.__traceback__ is None
        assert exc.__traceback__ is not None


def test_a_copy_says_what_it_was_raised_from() -> None:
    made = fresh(raised(ConnectionLost("gone"), raised(OSError(errno.EPIPE, "Broken pipe"))))
    assert isinstance(made.__cause__, OSError)
    assert made.__cause__.errno == errno.EPIPE
    assert made.__cause__.__traceback__ is None


def test_causes_that_cause_each_other_or_cannot_be_copied_are_no_failure() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert str(fresh(one).__cause__) == "other"
    keyed = Keyed(code=7)
    assert fresh(ConnectionLost("gone")).__cause__ is None
    assert fresh(keyed) is keyed
    assert fresh(raised(ConnectionLost("gone"), keyed)).__cause__ is keyed
