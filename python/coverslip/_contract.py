"""The contract: the declarations of ``coverslip.h``, and the library's function table.

The header is written for this: it includes three standard headers, and all else that the preprocessor does in it are
constants and names of calling conventions.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cffi

PACKAGE = Path(__file__).resolve().parent


def _header() -> str:
    # In the wheel, or in a checkout.
    places = [PACKAGE / "include/coverslip/coverslip.h", PACKAGE.parents[1] / "include/coverslip/coverslip.h"]
    for place in places:
        if place.is_file():
            return place.read_text(encoding="utf-8")
    raise ImportError(f"expected coverslip.h in one of {[str(place) for place in places]}, found none: reinstall the package")


def _without_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)


def _constants(text: str) -> dict[str, int]:
    found = re.findall(r"^#define COVERSLIP_(\w+) (-?(?:0x[0-9A-Fa-f]+|\d+))u?\s*$", text, flags=re.MULTILINE)
    return {name: int(value, 0) for name, value in found}


def _declarations(text: str, values: dict[str, int]) -> str:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    body = "\n".join(lines)
    body = re.sub(r'extern "C" \{|^\}\s*$', "", body, flags=re.MULTILINE)
    body = re.sub(r"COVERSLIP_(CALL|IMPORT)\b", "", body)
    return re.sub(r"\[COVERSLIP_(\w+)\]", lambda match: f"[{values[match.group(1)]}]", body)


_text = _without_comments(_header())
_values = _constants(_text)
ffi = cffi.FFI()
ffi.cdef(_declarations(_text, _values))

#: The constants of the header, without their prefix.
constants = SimpleNamespace(**_values)


def names_of(prefix: str) -> dict[int, str]:
    """The constants that begin with a prefix: value to the rest of the name."""
    return {value: name[len(prefix) :] for name, value in _values.items() if name.startswith(prefix)}


def init(struct: str, **fields: Any) -> Any:
    """A zeroed struct of the header with its size, as ``COVERSLIP_INIT`` makes it."""
    value = ffi.new(f"coverslip_{struct} *")
    value.struct_size = ffi.sizeof(f"coverslip_{struct}")
    for name, content in fields.items():
        setattr(value, name, content)
    return value


def as_dict(struct: Any) -> dict[str, Any]:
    """A struct's fields as Python values: text as str, digests as bytes, arrays as lists."""
    values: dict[str, Any] = {}
    for name, field in ffi.typeof(struct).item.fields:
        value = getattr(struct, name)
        if field.type.kind == "array":
            if field.type.item.cname == "char":
                value = ffi.string(value).decode("utf-8", "replace")
            elif field.type.item.cname == "uint8_t":
                value = bytes(ffi.buffer(value))
            else:
                value = list(value)
        values[name] = value
    return values


def library_path() -> str:
    """The library that is loaded: ``COVERSLIP_LIBRARY``, or the wheel's."""
    given = os.environ.get("COVERSLIP_LIBRARY")
    place = Path(given) if given else PACKAGE / "lib/libcoverslip.so"
    if not place.is_file():
        raise ImportError(
            f"expected the Coverslip library at {place}, found none: reinstall the package, or name it in COVERSLIP_LIBRARY"
        )
    return str(place)
