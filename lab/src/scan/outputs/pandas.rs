//! What pandas reads beside a Parquet schema, so that a column with nulls keeps its type.
//!
//! Without it, a nullable boolean becomes a column of objects, which is no mask. The format is pandas' own:
//! <https://pandas.pydata.org/docs/development/developer.html#storing-pandas-dataframe-objects-in-apache-parquet-format>.

use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::file::metadata::KeyValue;
use parquet::schema::types::Type;
use serde_json::{Value, json};

/// The file's entry for pandas: every column of `schema`, for a table of `rows` rows.
pub(super) fn metadata(schema: &Type, rows: usize) -> KeyValue {
    let index = json!({"kind": "range", "name": null, "start": 0, "stop": rows, "step": 1});
    let text = json!({
        "index_columns": [index],
        "column_indexes": [],
        "columns": schema.get_fields().iter().map(|field| column(field)).collect::<Vec<_>>(),
        "creator": {"library": "coverslip", "version": env!("CARGO_PKG_VERSION")},
        "pandas_version": "1.0.0",
    });
    KeyValue::new("pandas".to_owned(), text.to_string())
}

fn column(field: &Type) -> Value {
    let (pandas, numpy) =
        if field.is_primitive() { kinds(field) } else { (format!("list[{}]", element(field)), "object") };
    json!({"name": field.name(), "field_name": field.name(), "pandas_type": pandas, "numpy_type": numpy, "metadata": null})
}

/// The kind of a list's elements.
fn element(list: &Type) -> String {
    let leaf = &list.get_fields()[0].get_fields()[0];
    kinds(leaf).0
}

/// pandas' name of a column's kind, and its dtype.
fn kinds(leaf: &Type) -> (String, &'static str) {
    let nullable = leaf.get_basic_info().repetition() == Repetition::OPTIONAL;
    let (pandas, numpy) = match leaf.get_physical_type() {
        // A float has NaN for what is missing; a boolean needs the dtype that has nulls.
        Physical::BOOLEAN => ("bool", if nullable { "boolean" } else { "bool" }),
        Physical::INT32 => ("int32", if nullable { "Int32" } else { "int32" }),
        Physical::INT64 => ("int64", if nullable { "Int64" } else { "int64" }),
        Physical::FLOAT => ("float32", "float32"),
        Physical::DOUBLE => ("float64", "float64"),
        _ if leaf.get_basic_info().logical_type_ref() == Some(&LogicalType::String) => ("unicode", "object"),
        _ => ("bytes", "object"),
    };
    (pandas.to_owned(), numpy)
}
