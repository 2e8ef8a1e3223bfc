"""A runtime: a bundle, its engine and the library's threads."""

from __future__ import annotations

import logging
import os
from types import TracebackType
from typing import Any, Callable

import numpy as np

from ._contract import as_dict, constants, ffi, init, library_path
from .errors import check
from .slide import Slide, as_milliseconds

_LEVELS = {1: logging.ERROR, 2: logging.WARNING, 3: logging.INFO, 4: logging.DEBUG}
#: Callbacks that the library may still call: they live as long as the process.
_kept: list[Any] = []


def _api(logger: logging.Logger | None) -> tuple[Any, Any]:
    library = ffi.dlopen(library_path())
    host = init("host_info", abi_major=constants.ABI_MAJOR, abi_minor=constants.ABI_MINOR)
    name = ffi.new("char[]", b"coverslip for Python")
    host.name = name
    if logger is not None:

        @ffi.callback("void(void *, int32_t, const char *)")
        def log(_: Any, level: int, message: Any) -> None:
            logger.log(_LEVELS.get(level, logging.INFO), "%s", ffi.string(message).decode("utf-8", "replace"))

        _kept.append(log)
        host.log = log
    table = ffi.new("const coverslip_api **")
    error = init("error")
    check(library.coverslip_get_api(host, table, error), error)
    return library, table[0]


def open(
    bundle: str | os.PathLike[str],
    *,
    engine: str = "AUTO",
    profile: str | os.PathLike[str] | None = None,
    threads: int = 0,
    logger: logging.Logger | None = None,
    progress: Callable[[int, float], bool | None] | None = None,
    **fields: Any,
) -> Runtime:
    """Loads a bundle. `engine` is AUTO, CPU or TENSORRT. `progress` hears stage and fraction, and returns True to stop.
    `fields` are further numbers of ``coverslip_runtime_desc``."""
    library, api = _api(logger)
    desc = init("runtime_desc", engine=getattr(constants, f"ENGINE_{engine}"), max_threads=threads, **fields)
    texts = [ffi.new("char[]", os.fsencode(bundle))]
    desc.bundle_path = texts[0]
    if profile is not None:
        texts.append(ffi.new("char[]", os.fsencode(profile)))
        desc.profile_path = texts[1]
    hears = ffi.NULL
    if progress is not None:

        @ffi.callback("int32_t(void *, const coverslip_progress *)", error=1)
        def hears(_: Any, state: Any) -> int:
            return int(bool(progress(state.stage, state.fraction)))

    handle, error = ffi.new("coverslip_runtime *"), init("error")
    check(api.runtime_open(desc, hears, ffi.NULL, handle, error), error)
    return Runtime(library, api, handle[0])


class Runtime:
    """An open bundle. Closing it ends its slides."""

    def __init__(self, library: Any, api: Any, handle: int) -> None:
        self._library, self._api, self._handle = library, api, handle

    def __enter__(self) -> Runtime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self, timeout: float | None = 60.0) -> None:
        """Cancels and ends every open slide and joins the library's threads. Closing twice does nothing."""
        handle, self._handle = self._handle, 0
        if handle:
            error = init("error")
            check(self._api.runtime_close(handle, as_milliseconds(timeout), error), error)

    @property
    def info(self) -> dict[str, Any]:
        """What was opened: the fields of ``coverslip_runtime_info``."""
        return self._read("runtime_info", self._api.runtime_info)

    @property
    def stats(self) -> dict[str, Any]:
        """Totals: the fields of ``coverslip_runtime_stats``."""
        return self._read("runtime_stats", self._api.runtime_stats)

    def _read(self, struct: str, call: Any) -> dict[str, Any]:
        value, error = init(struct), init("error")
        check(call(self._handle, value, error), error)
        return as_dict(value)

    def begin(
        self,
        *,
        scanner: str,
        slide: str,
        max_frame: tuple[int, int],
        mpp: float | tuple[float, float] | None = None,
        extent: tuple[int, int, int, int] | None = None,
        spread: tuple[int, int] = (0, 0),
        embeddings: bool = False,
        not_scanned: tuple[int, int, int] | None = None,
        alpha_is_validity: bool = False,
        tone_table: Any = None,
        **fields: Any,
    ) -> Slide:
        """Begins a slide. `mpp` is the frames' micrometres per pixel (None: the model's), `extent` x, y, width and height
        in pixels (None: unknown). `fields` are further numbers of ``coverslip_slide_desc``."""
        info = self.info
        mpp = info["mpp"] if mpp is None else mpp
        desc = init("slide_desc", **{name: fields[name] for name in fields if name not in ("white_balance", "color_matrix")})
        for name in ("white_balance", "color_matrix"):
            for at, factor in enumerate(np.ravel(fields.get(name, ()))):
                getattr(desc, name)[at] = float(factor)
        texts = [ffi.new("char[]", text.encode()) for text in (scanner, slide)]
        desc.scanner_id, desc.slide_id = texts
        desc.mpp_x, desc.mpp_y = (mpp, mpp) if isinstance(mpp, (int, float)) else mpp
        desc.max_frame_width, desc.max_frame_height = max_frame
        desc.spread_width, desc.spread_height = spread
        if extent is not None:
            desc.extent_x, desc.extent_y, desc.extent_width, desc.extent_height = extent
        desc.flags |= constants.SLIDE_EMBEDDINGS if embeddings else 0
        desc.flags |= constants.SLIDE_ALPHA_IS_VALIDITY if alpha_is_validity else 0
        if not_scanned is not None:
            desc.flags |= constants.SLIDE_NOT_SCANNED_VALUE
            desc.not_scanned = list(not_scanned)
        table = np.ascontiguousarray(tone_table if tone_table is not None else (), np.uint8)
        if table.size:
            desc.tone_table, desc.tone_table_size = ffi.cast("uint8_t *", table.ctypes.data), table.size
        handle, error = ffi.new("coverslip_slide *"), init("error")
        check(self._api.slide_begin(self._handle, desc, handle, error), error)
        return Slide(self._api, handle[0], info["embedding_width"] if embeddings else 0, info["features_per_tile"])
