//! tiles.parquet: one row per tile and pass, ordered by row, column, pass.

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::names::{FLAGS, status_name};
use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, FloatType, Int32Type, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::pandas;
use crate::play::{Collected, Played, Tile};

/// Rows in a row group.
const GROUP: usize = 16_384;

/// Writes the table, with a column of embeddings where `embeddings`.
pub(super) fn write(out: &mut (dyn Write + Send), played: &Played, embeddings: bool) -> Result<(), Box<dyn Error>> {
    let schema = Arc::new(parse_message_type(&schema(embeddings))?);
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by(concat!("coverslip ", env!("CARGO_PKG_VERSION")).into())
        .set_key_value_metadata(Some(vec![pandas::metadata(&schema, played.collected.tiles.len())]))
        .build();
    let mut writer = SerializedFileWriter::new(out, schema, Arc::new(properties))?;
    for tiles in played.collected.tiles.chunks(GROUP) {
        let mut group = writer.next_row_group()?;
        write_group(&mut group, &played.collected, tiles, embeddings)?;
        group.close()?;
    }
    writer.close()?;
    Ok(())
}

/// The columns, in the order in which `write_group` fills them.
fn schema(embeddings: bool) -> String {
    let mut columns = String::from(
        "required int32 column; required int32 row; required int64 x; required int64 y;
         required int32 width; required int32 height; required int32 pass; required binary status (STRING);
         required int32 flags_checked; required int32 flags_raised; required int32 flags_calibrated;
         required float coverage;",
    );
    for name in FLAGS {
        columns += &format!("optional boolean flag_{name}; optional float score_{name}; optional float p_{name};");
    }
    columns += "optional float reconstruction_error; required int32 active_count;";
    let mut list = |name: &str, kind: &str| {
        columns += &format!("required group {name} (LIST) {{ repeated group list {{ required {kind} element; }} }}");
    };
    list("feature_index", "int32");
    list("feature_value", "float");
    if embeddings {
        list("embedding", "float");
    }
    columns += "required int64 sequence; required int64 first_frame_id; required int64 last_frame_id;
                required int64 group_id; required double latency_ms; required int64 engine_epoch;";
    format!("message tiles {{ {columns} }}")
}

type Group<'a, 'b> = SerializedRowGroupWriter<'a, &'b mut (dyn Write + Send)>;

fn write_group(
    group: &mut Group<'_, '_>,
    all: &Collected,
    tiles: &[Tile],
    embeddings: bool,
) -> Result<(), Box<dyn Error>> {
    let ints = |group: &mut Group<'_, '_>, get: &dyn Fn(&abi::TileResult) -> i32| {
        required::<Int32Type>(group, tiles.iter().map(|tile| get(&tile.result)).collect())
    };
    let longs = |group: &mut Group<'_, '_>, get: &dyn Fn(&abi::TileResult) -> i64| {
        required::<Int64Type>(group, tiles.iter().map(|tile| get(&tile.result)).collect())
    };
    ints(group, &|tile| tile.column)?;
    ints(group, &|tile| tile.row)?;
    longs(group, &|tile| tile.x)?;
    longs(group, &|tile| tile.y)?;
    ints(group, &|tile| tile.width as i32)?;
    ints(group, &|tile| tile.height as i32)?;
    ints(group, &|tile| tile.pass as i32)?;
    let statuses = tiles.iter().map(|tile| ByteArray::from(status_name(tile.result.status))).collect();
    required::<ByteArrayType>(group, statuses)?;
    ints(group, &|tile| tile.flags_checked as i32)?;
    ints(group, &|tile| tile.flags_raised as i32)?;
    ints(group, &|tile| tile.flags_calibrated as i32)?;
    required::<FloatType>(group, tiles.iter().map(|tile| tile.result.coverage).collect())?;
    for bit in 0..FLAGS.len() {
        // Null where a flag was not checked: the tile neither passed nor failed.
        let checked = |tile: &&Tile| tile.result.flags_checked & (1 << bit) != 0;
        let raised = |tile: &Tile| tile.result.flags_raised & (1 << bit) != 0;
        optional::<BoolType>(group, tiles.iter().map(|tile| checked(&tile).then(|| raised(tile))))?;
        let score = |tile: &Tile| Some(tile.result.scores[bit]).filter(|score| !score.is_nan());
        optional::<FloatType>(group, tiles.iter().map(|tile| Some(tile).filter(checked).and_then(score)))?;
        // Null where a flag has no profile's calibration.
        let p = |tile: &Tile| Some(tile.result.p_values[bit]).filter(|p| !p.is_nan());
        optional::<FloatType>(group, tiles.iter().map(p))?;
    }
    let error = |tile: &Tile| Some(tile.result.reconstruction_error).filter(|error| !error.is_nan());
    optional::<FloatType>(group, tiles.iter().map(error))?;
    ints(group, &|tile| tile.active_count as i32)?;
    let indices = |tile: &Tile| all.features(tile).iter().map(|feature| feature.index as i32).collect();
    lists::<Int32Type>(group, tiles.iter().map(indices))?;
    let values = |tile: &Tile| all.features(tile).iter().map(|feature| feature.value).collect();
    lists::<FloatType>(group, tiles.iter().map(values))?;
    if embeddings {
        lists::<FloatType>(group, tiles.iter().map(|tile| all.embedding(tile).to_vec()))?;
    }
    longs(group, &|tile| tile.sequence as i64)?;
    longs(group, &|tile| tile.first_frame_id as i64)?;
    longs(group, &|tile| tile.last_frame_id as i64)?;
    longs(group, &|tile| tile.group_id as i64)?;
    let latencies = tiles.iter().map(|tile| tile.result.latency_ns as f64 * 1e-6).collect();
    required::<parquet::data_type::DoubleType>(group, latencies)?;
    longs(group, &|tile| tile.engine_epoch as i64)
}

fn column<T: DataType>(
    group: &mut Group<'_, '_>,
    values: &[T::T],
    definition: Option<&[i16]>,
    repetition: Option<&[i16]>,
) -> Result<(), Box<dyn Error>> {
    let mut column = group.next_column()?.ok_or("the table has more columns than its schema")?;
    column.typed::<T>().write_batch(values, definition, repetition)?;
    column.close()?;
    Ok(())
}

fn required<T: DataType>(group: &mut Group<'_, '_>, values: Vec<T::T>) -> Result<(), Box<dyn Error>> {
    column::<T>(group, &values, None, None)
}

fn optional<T: DataType>(
    group: &mut Group<'_, '_>,
    values: impl Iterator<Item = Option<T::T>>,
) -> Result<(), Box<dyn Error>> {
    let values: Vec<Option<T::T>> = values.collect();
    let present: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    let values: Vec<T::T> = values.into_iter().flatten().collect();
    column::<T>(group, &values, Some(&present), None)
}

/// A list per row: level 0 opens a row (or is an empty list), level 1 goes on.
fn lists<T: DataType>(group: &mut Group<'_, '_>, rows: impl Iterator<Item = Vec<T::T>>) -> Result<(), Box<dyn Error>> {
    let (mut values, mut definition, mut repetition) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        definition.extend(if row.is_empty() { vec![0] } else { vec![1; row.len()] });
        repetition.extend((0..row.len().max(1)).map(|place| i16::from(place > 0)));
        values.extend(row);
    }
    column::<T>(group, &values, Some(&definition), Some(&repetition))
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let played = super::super::fabricated::played();
        let mut file = tempfile();
        write(&mut file, &played, true).unwrap();
        let reader = SerializedFileReader::new(file).unwrap();
        let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows.len(), played.collected.tiles.len());
        let names: Vec<String> = rows[0].get_column_iter().map(|(name, _)| name.clone()).collect();
        let place = |name: &str| names.iter().position(|other| other == name).unwrap();
        assert!(played.collected.tiles.iter().any(|tile| !tile.result.p_values[4].is_nan()));
        for (row, tile) in rows.iter().zip(&played.collected.tiles) {
            assert_eq!(row.get_int(place("column")).unwrap(), tile.result.column);
            assert_eq!(row.get_long(place("x")).unwrap(), tile.result.x);
            assert_eq!(row.get_string(place("status")).unwrap(), status_name(tile.result.status));
            let features = played.collected.features(tile);
            let indices = row.get_list(place("feature_index")).unwrap().elements();
            let expected: Vec<i32> = features.iter().map(|feature| feature.index as i32).collect();
            let found: Vec<i32> = indices
                .iter()
                .map(|field| match field {
                    parquet::record::Field::Int(value) => *value,
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(found, expected);
            assert_eq!(row.get_list(place("embedding")).unwrap().len(), played.collected.embedding(tile).len());
            // Null where the flag was not checked.
            let checked = tile.result.flags_checked & abi::FLAG_OUT_OF_FOCUS != 0;
            assert_eq!(row.get_bool(place("flag_out_of_focus")).is_ok(), checked);
            assert!(row.get_bool(place("flag_novel")).is_err());
            // A p-value where there is one: of COLOR_SHIFT on the made-up slide's first row.
            let p = tile.result.p_values[4];
            assert_eq!(row.get_float(place("p_color_shift")).ok(), (!p.is_nan()).then_some(p));
            assert!(row.get_float(place("p_out_of_focus")).is_err());
        }
    }

    #[test]
    fn every_column_stands_in_the_page_of_the_files() {
        let page = include_str!("../../../../docs/reference/scan-files.md");
        let schema = parse_message_type(&schema(true)).unwrap();
        for column in schema.get_fields() {
            let name = column.name();
            let of_flag = ["flag_", "score_", "p_"].into_iter().find_map(|kind| {
                let flag = name.strip_prefix(kind).filter(|flag| FLAGS.contains(flag))?;
                Some([format!("| `{kind}F` |"), format!("`{flag}`")])
            });
            let expected = of_flag.map_or(vec![format!("`{name}`")], Vec::from);
            assert!(expected.iter().all(|words| page.contains(words)), "{name}: {expected:?}");
        }
    }

    fn tempfile() -> std::fs::File {
        let path = std::env::temp_dir().join(format!("coverslip-table-{}.parquet", std::process::id()));
        let file = std::fs::File::options().create(true).truncate(true).read(true).write(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }
}
