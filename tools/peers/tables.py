"""Reads a tiles.parquet with pandas and pyarrow, and uses its columns as a researcher does.

    python tables.py FOLDER/tiles.parquet      needs pandas and pyarrow

Ends with 1 where a column does not come back as what it is.
"""

import json
import sys

import pandas
import pyarrow.parquet

path = sys.argv[1]
table = pandas.read_parquet(path)
arrow = pyarrow.parquet.read_table(path)

named = [column["name"] for column in json.loads(arrow.schema.metadata[b"pandas"])["columns"]]
assert named == arrow.column_names, "the entry for pandas names the columns that the file has"
assert list(table.index) == list(range(arrow.num_rows))

flags = [name for name in table if name.startswith("flag_")]
assert flags
for name in flags:
    assert table[name].dtype == "boolean", f"{name} is {table[name].dtype}"
    raised = sum(value is True for value in arrow[name].to_pylist())
    # A mask as it stands and turned round; a tile that was not checked is in neither.
    assert len(table[table[name]]) == raised
    assert len(table[~table[name]]) + raised == table[name].notna().sum()
for name, dtype in {"column": "int32", "x": "int64", "coverage": "float32", "score_out_of_focus": "float32", "latency_ms": "float64"}.items():
    assert table[name].dtype == dtype, f"{name} is {table[name].dtype}"
assert all(isinstance(status, str) for status in table["status"])
print(f"{path}: {len(table)} tiles, {len(flags)} flags as nullable booleans, in pandas {pandas.__version__}")
