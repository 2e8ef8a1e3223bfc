"""What a call that fails says."""

from __future__ import annotations

from typing import Any

from ._contract import constants, ffi

# Codes share their values with other constants: only these names are codes.
_CODES = (
    "OK INVALID_ARGUMENT INVALID_STRUCT INVALID_HANDLE WRONG_STATE ABI_MISMATCH UNSUPPORTED UNSUPPORTED_FORMAT "
    "OUT_OF_MEMORY LIMIT_REACHED BUSY FRAME_TOO_LARGE OUT_OF_EXTENT TIMEOUT INTERRUPTED CANCELLED END_OF_RESULTS "
    "BUFFER_TOO_SMALL IO BUNDLE_INVALID BUNDLE_UNSUPPORTED DIGEST_MISMATCH ENGINE_UNAVAILABLE SELF_CHECK_FAILED "
    "ENGINE_HUNG INTERNAL SIGNATURE_INVALID"
).split()


class CoverslipError(Exception):
    """A call returned another code than OK: `code` and `name` say which, the text what was expected, found, and to do."""

    def __init__(self, code: int, message: str, native_code: int = 0) -> None:
        name = next((name for name in _CODES if getattr(constants, name) == code), str(code))
        super().__init__(f"{name}: {message}")
        self.code = code
        self.name = name
        self.native_code = native_code


class Busy(CoverslipError):
    """There are no free slots for a frame now. It was refused as a whole; submit it again or go on."""


class TimedOut(CoverslipError):
    """The timeout expired; the work goes on."""


class Interrupted(CoverslipError):
    """`Slide.interrupt` was called."""


class EndOfResults(CoverslipError):
    """The slide is over and every result has been taken."""


_KINDS: dict[int, type[CoverslipError]] = {
    constants.BUSY: Busy,
    constants.TIMEOUT: TimedOut,
    constants.INTERRUPTED: Interrupted,
    constants.END_OF_RESULTS: EndOfResults,
}


def check(code: int, error: Any) -> None:
    """Raises what a code and the library's error say, unless the code is OK."""
    if code != constants.OK:
        message = ffi.string(error.message).decode("utf-8", "replace")
        raise _KINDS.get(code, CoverslipError)(code, message, error.native_code)
