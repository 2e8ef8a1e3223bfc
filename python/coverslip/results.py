"""Results as NumPy records and as a pyarrow table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ._contract import ffi, names_of

if TYPE_CHECKING:
    import pyarrow


def dtype_of(struct: str) -> np.dtype[Any]:
    """The NumPy type of a struct of the header: its fields, where they lie."""
    names, formats, offsets = [], [], []
    for name, field in ffi.typeof(struct).fields:
        kind, shape = field.type, None
        if kind.kind == "array":
            kind, shape = kind.item, (kind.length,)
        base = np.dtype(_SCALARS[kind.cname])
        names.append(name)
        formats.append((base, shape) if shape is not None else base)
        offsets.append(field.offset)
    size = ffi.sizeof(struct)
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": size})


_SCALARS = {
    "int32_t": "i4",
    "uint32_t": "u4",
    "int64_t": "i8",
    "uint64_t": "u8",
    "float": "f4",
    "double": "f8",
}

#: One result, as ``coverslip_result``.
RESULT = dtype_of("coverslip_result")
#: One active feature of a tile, as ``coverslip_feature``.
FEATURE = dtype_of("coverslip_feature")
#: One alert, as ``coverslip_alert``.
ALERT = dtype_of("coverslip_alert")


@dataclass(frozen=True)
class Results:
    """Results of tiles, oldest first. Offsets in `records` point into `features` and `embeddings`."""

    records: npt.NDArray[Any]
    features: npt.NDArray[Any]
    #: All taps of each tile that has embeddings, one row per tile; `embedding_rows` says of which record.
    embeddings: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.records)

    def features_of(self, index: int) -> npt.NDArray[Any]:
        """The features of record `index`, strongest first."""
        record = self.records[index]
        start = int(record["feature_offset"])
        return self.features[start : start + int(record["feature_count"])]

    def embedding_of(self, index: int) -> npt.NDArray[np.float32] | None:
        """The embedding of record `index`; None if it has none."""
        record = self.records[index]
        count = int(record["embedding_count"])
        return self.embeddings[int(record["embedding_offset"]) // count] if count else None

    def to_arrow(self) -> pyarrow.Table:
        """One row per tile: every field of the record, the status as a word, features and embedding as lists."""
        import pyarrow as pa

        columns: dict[str, Any] = {}
        for name in RESULT.names or ():
            if name in ("feature_offset", "feature_count", "embedding_offset", "embedding_count"):
                continue
            column = np.ascontiguousarray(self.records[name])
            columns[name] = pa.FixedSizeListArray.from_arrays(column.ravel(), column.shape[1]) if column.ndim == 2 else column
        words = names_of("TILE_")
        columns["status"] = pa.array([words.get(int(status), str(status)) for status in self.records["status"]], pa.string())
        bounds = np.concatenate([self.records["feature_offset"], [len(self.features)]]).astype(np.int32)
        for name in ("index", "value"):
            values = np.ascontiguousarray(self.features[name])
            columns[f"feature_{name}"] = pa.ListArray.from_arrays(bounds, values)
        lengths = self.records["embedding_count"].astype(np.int64)
        bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        columns["embedding"] = pa.ListArray.from_arrays(bounds, self.embeddings.ravel())
        return pa.table(columns)

    @staticmethod
    def joined(parts: list[Results], width: int) -> Results:
        """Several batches as one."""
        features = tiles = 0
        moved = []
        for part in parts:
            records = part.records.copy()
            records["feature_offset"] += np.uint32(features)
            records["embedding_offset"] += np.uint32(tiles * width)
            features, tiles = features + len(part.features), tiles + len(part.embeddings)
            moved.append(records)
        return Results(
            np.concatenate(moved) if moved else np.empty(0, RESULT),
            np.concatenate([part.features for part in parts]) if parts else np.empty(0, FEATURE),
            np.concatenate([part.embeddings for part in parts]) if parts else np.empty((0, width), np.float32),
        )
