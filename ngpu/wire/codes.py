"""The one table from exceptions to HTTP statuses and ``result_code`` (wire contract §1)."""

from __future__ import annotations

from ngpu import errors

_STATUS: tuple[tuple[type[errors.NgpuError], int], ...] = (
    (errors.BadRequest, 400),
    (errors.Unauthorized, 401),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.MethodNotAllowed, 405),
    (errors.RequestTimeout, 408),
    (errors.Conflict, 409),
    (errors.PayloadTooLarge, 413),
    (errors.QueueFull, 429),
    (errors.TooManyTries, 429),
    (errors.OverLimit, 429),
    (errors.AdapterFailed, 500),
    (errors.ResultTooLarge, 502),
    (errors.CallTimeout, 504),
    (errors.UpstreamError, 502),
    (errors.Unavailable, 503),
)


def status_of(error: BaseException) -> int:
    """The status that tells a caller of this error; 500 for whatever was not raised on purpose."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
