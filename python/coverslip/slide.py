"""A slide: frames in, results and alerts out."""

from __future__ import annotations

import json
import time
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from ._contract import as_dict, constants, ffi, init
from .errors import EndOfResults, TimedOut, check
from .results import ALERT, FEATURE, RESULT, Results

#: The most results that one poll takes.
_BATCH = 256
#: Formats that follow from an array: kind of number, channels.
_FORMATS = {
    ("u1", 1): "MONO8",
    ("u2", 1): "MONO16",
    ("u1", 3): "RGB8",
    ("u2", 3): "RGB16",
    ("u1", 4): "RGBA8",
    ("u2", 4): "RGBA16",
}


def as_milliseconds(timeout: float | None) -> int:
    """Seconds as the contract's milliseconds; None: without limit."""
    if timeout is None:
        return constants.NO_TIMEOUT
    return min(max(0, round(timeout * 1000)), constants.NO_TIMEOUT - 1)


class Slide:
    """One acquisition. Leaving its ``with`` ends it; results that were not taken are dropped."""

    def __init__(self, api: Any, handle: int, embedding_width: int, features_per_tile: int) -> None:
        self._api, self._handle = api, handle
        self._width, self._features = embedding_width, features_per_tile

    def __enter__(self) -> Slide:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def submit(
        self,
        frame: npt.NDArray[Any],
        x: int,
        y: int,
        *,
        format: str | int | None = None,
        width: int | None = None,
        mask: npt.NDArray[Any] | None = None,
        timeout: float | None = 0.0,
        frame_id: int = 0,
        group_id: int = 0,
        scan_pass: int = 0,
        channel: int = 0,
        contiguous: bool = False,
        captured_ns: int = 0,
    ) -> None:
        """Gives a frame with its upper left pixel at (`x`, `y`) of the acquisition plane. Rows that are C-contiguous are
        read where they are. `mask` has 0, or False, where nothing was captured. `timeout` is how long to wait for room;
        raises `Busy` without it."""
        struct = init("frame", x=x, y=y, frame_id=frame_id, group_id=group_id, channel=channel)
        setattr(struct, "pass", scan_pass)
        struct.capture_time_ns = captured_ns
        struct.flags = constants.FRAME_CONTIGUOUS if contiguous else 0
        # They stay alive until the call has returned.
        kept = self._describe(struct, frame, format, width)
        if mask is not None:
            captured = np.ascontiguousarray(mask).view(np.uint8)
            kept.append(captured)
            struct.mask.data = ffi.cast("uint8_t *", captured.ctypes.data)
            struct.mask.stride, struct.mask.size = captured.strides[0], captured.nbytes
            struct.mask_format = constants.MASK_BYTES
        error = init("error")
        if timeout == 0.0:
            code = self._api.slide_submit(self._handle, struct, error)
        else:
            code = self._api.slide_submit_wait(self._handle, struct, as_milliseconds(timeout), error)
        del kept
        check(code, error)

    @staticmethod
    def _describe(struct: Any, frame: npt.NDArray[Any], format: str | int | None, width: int | None) -> list[Any]:
        """Fills in format, size and planes; gives the arrays that the planes point into."""
        if frame.dtype.byteorder == ">" or frame.dtype.kind not in "ub":
            raise TypeError(f"expected little-endian unsigned integers, found {frame.dtype}")
        if format is None:
            channels = 1 if frame.ndim == 2 else frame.shape[-1]
            name = _FORMATS.get((frame.dtype.str[1:], channels))
            if name is None or frame.ndim not in (2, 3):
                raise TypeError(f"expected height x width (x 3 or 4) of uint8 or uint16, found {frame.shape} of {frame.dtype}")
            format = name
        code = format if isinstance(format, int) else getattr(constants, f"PFNC_{format.upper()}")
        planar = code == constants.PFNC_RGB8_PLANAR
        if planar and (frame.ndim != 3 or frame.shape[0] != 3):
            raise TypeError(f"expected 3 x height x width, found {frame.shape}")
        planes = list(frame) if planar else [frame]
        struct.pixel_format, struct.plane_count = code, len(planes)
        struct.height = planes[0].shape[0]
        struct.width = planes[0].shape[1] if width is None else width
        for at, plane in enumerate(planes):
            rows = planes[at] = _with_whole_rows(plane)
            struct.planes[at].data = ffi.cast("uint8_t *", rows.ctypes.data)
            row = rows[0].nbytes if len(rows) else 0
            struct.planes[at].stride = rows.strides[0] if len(rows) > 1 else row
            struct.planes[at].size = struct.planes[at].stride * (len(rows) - 1) + row if len(rows) else 0
        return planes

    def poll(self, timeout: float | None = 0.0) -> Results:
        """The results that are there, at most 256, oldest first; with a timeout, waits for the first. None left:
        `EndOfResults`."""
        records = np.zeros(_BATCH, RESULT)
        features = np.zeros(_BATCH * max(1, self._features), FEATURE)
        embeddings = np.zeros((_BATCH, self._width), np.float32)
        batch = init("result_batch", record_size=RESULT.itemsize, record_capacity=len(records))
        batch.records = ffi.cast("coverslip_result *", records.ctypes.data)
        batch.features, batch.feature_capacity = ffi.cast("coverslip_feature *", features.ctypes.data), len(features)
        if self._width:
            batch.embeddings = ffi.cast("float *", embeddings.ctypes.data)
            batch.embedding_capacity = embeddings.size
        error = init("error")
        if timeout == 0.0:
            code = self._api.slide_poll(self._handle, batch, error)
        else:
            code = self._api.slide_wait(self._handle, batch, as_milliseconds(timeout), error)
        if code == constants.TIMEOUT:
            return Results(records[:0], features[:0], embeddings[:0])
        check(code, error)
        tiles = batch.embedding_count // self._width if self._width else 0
        return Results(
            records[: batch.record_count].copy(),
            features[: batch.feature_count].copy(),
            embeddings[:tiles].copy(),
        )

    def finish(self, timeout: float | None = None) -> Results:
        """Declares that no more frames come, and gives all results that are left."""
        parts = []
        end = None if timeout is None else time.monotonic() + timeout
        error = init("error")
        while True:
            # Results may wait for room: some are taken between two waits.
            code = self._api.slide_finish(self._handle, 50, error)
            if code != constants.TIMEOUT:
                check(code, error)
            try:
                while len(part := self.poll()):
                    parts.append(part)
            except EndOfResults:
                return Results.joined(parts, self._width)
            if code == constants.TIMEOUT and end is not None and time.monotonic() > end:
                raise TimedOut(code, "the slide goes on; take its results and call finish again")

    def cancel(self) -> None:
        """Accepts no more frames and ends every tile without a result as CANCELLED."""
        self._call(self._api.slide_cancel)

    def interrupt(self) -> None:
        """Wakes every thread that waits in this slide."""
        self._call(self._api.slide_interrupt)

    def end(self) -> None:
        """Ends the slide. Ending twice, or after the runtime was closed, does nothing."""
        handle, self._handle = self._handle, 0
        if handle:
            error = init("error")
            code = self._api.slide_end(handle, error)
            if code != constants.INVALID_HANDLE:
                check(code, error)

    def _call(self, function: Any) -> None:
        error = init("error")
        check(function(self._handle, error), error)

    @property
    def alerts(self) -> npt.NDArray[Any]:
        """The alerts since the last call, as ``coverslip_alert`` records."""
        records = np.zeros(1024, ALERT)
        batch = init("alert_batch", record_size=ALERT.itemsize, record_capacity=len(records))
        batch.records = ffi.cast("coverslip_alert *", records.ctypes.data)
        error = init("error")
        check(self._api.slide_alerts(self._handle, batch, error), error)
        return records[: batch.record_count].copy()

    @property
    def summary(self) -> dict[str, Any]:
        """Counters and provenance: the fields of ``coverslip_slide_summary``."""
        value, error = init("slide_summary"), init("error")
        check(self._api.slide_summary(self._handle, value, error), error)
        return as_dict(value)

    @property
    def report(self) -> dict[str, Any]:
        """The library's report of the slide, with its alerts, taken or not: see ``docs/reference/slide-report.md``."""
        capacity, needed, error = 1 << 14, ffi.new("uint64_t *"), init("error")
        while True:
            text = ffi.new("char[]", capacity)
            code = self._api.slide_report_json(self._handle, text, capacity, needed, error)
            if code != constants.BUFFER_TOO_SMALL:
                check(code, error)
                report: dict[str, Any] = json.loads(ffi.string(text))
                return report
            # It can have grown by the next call.
            capacity = needed[0] + 64


def _with_whole_rows(plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array itself if each of its rows is contiguous and they follow each other downwards, else a copy."""
    inner = plane[:1]
    fits = inner.flags.c_contiguous and (len(plane) < 2 or plane.strides[0] >= inner.nbytes)
    return plane if fits else np.ascontiguousarray(plane)
