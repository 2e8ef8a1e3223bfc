//! Parquet files that claim rows, values and places which are not there. An honest file is written by the crate itself,
//! then numbers in its headers are exchanged.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use coverslip_testkit::Scratch;
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, FloatType};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::{assert_done, assert_refused, coverslip, text};

const ROWS: usize = 70;
const WIDTH: usize = 5;
const SCHEMA: &str = "message embeddings {
    required binary slide (STRING);
    required group embedding_last (LIST) { repeated group list { required float element; } }
}";

/// A file of 70 tiles of two slides, with these values.
fn honest(path: &Path, value: impl Fn(usize) -> f32) -> Vec<u8> {
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let mut writer = SerializedFileWriter::new(fs::File::create(path).unwrap(), schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let slides: Vec<ByteArray> = (0..ROWS).map(|row| ByteArray::from(["a", "b"][row % 2])).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&slides, None, None).unwrap();
    column.close().unwrap();
    write_lists(&mut group, WIDTH, &(0..ROWS * WIDTH).map(value).collect::<Vec<f32>>());
    group.close().unwrap();
    writer.close().unwrap();
    fs::read(path).unwrap()
}

/// The next column: lists of `width` values.
fn write_lists(group: &mut SerializedRowGroupWriter<'_, fs::File>, width: usize, values: &[f32]) {
    let starts: Vec<i16> = (0..values.len()).map(|at| i16::from(at % width != 0)).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<FloatType>().write_batch(values, Some(&vec![1; values.len()]), Some(&starts)).unwrap();
    column.close().unwrap();
}

/// A number as thrift writes it.
fn thrift(value: i64) -> Vec<u8> {
    let mut rest = (value << 1 ^ value >> 63) as u64;
    let mut out = Vec::new();
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
    out
}

fn exchanged(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let (mut out, mut rest, mut found) = (Vec::new(), bytes, 0);
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.extend([&rest[..at], to].concat());
        rest = &rest[at + from.len()..];
        found += 1;
    }
    assert!(found > 0, "the number is in the header");
    [out, rest.to_vec()].concat()
}

/// The file with numbers of its footer exchanged.
fn footer(file: &[u8], changes: &[(i64, i64)]) -> Vec<u8> {
    let (rest, end) = file.split_at(file.len() - 8);
    let length = u32::from_le_bytes(end[..4].try_into().unwrap()) as usize;
    let (pages, footer) = rest.split_at(rest.len() - length);
    let footer =
        changes.iter().fold(footer.to_vec(), |footer, (from, to)| exchanged(&footer, &thrift(*from), &thrift(*to)));
    [pages, &footer, &(footer.len() as u32).to_le_bytes(), b"PAR1"].concat()
}

/// The file with a number of its page headers exchanged, and nothing moved.
fn pages(file: &[u8], from: i64, to: i64) -> Vec<u8> {
    let (from, to) = (thrift(from), thrift(to));
    assert_eq!(from.len(), to.len(), "offsets stay");
    exchanged(file, &from, &to)
}

#[test]
fn claims_of_a_parquet_file_are_not_believed() {
    let scratch = Scratch::new("bombs-parquet");
    let (rows, values) = (ROWS as i64, (ROWS * WIDTH) as i64);
    let path = scratch.join("e.parquet");
    let file = honest(&path, |at| (at as f32 * 0.37).sin());
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let out = scratch.join("sae");
        let _ = fs::remove_dir_all(&out);
        coverslip(&[
            "sae",
            "train",
            "--embeddings",
            text(&path),
            "--out",
            text(&out),
            "--k",
            "2",
            "--batch",
            "8",
            "--steps",
            "200",
        ])
    };
    assert_done("an honest file is read in 1 GiB", &read(&file));
    let offset = file.windows(4).rposition(|window| window == b"PAR1").expect("the end");
    let list = |kind: u8, count: u64| {
        let mut varint = Vec::new();
        let mut rest = count;
        while rest >= 0x80 {
            varint.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        varint.push(rest as u8);
        // Version 2, and a list of the schema's members.
        [&[0x15, 4, 0x19, 0xf0 | kind][..], &varint].concat()
    };
    let lying = |footer: Vec<u8>| [b"PAR1", &footer[..], &(footer.len() as u32).to_le_bytes(), b"PAR1"].concat();
    let bombs: Vec<(&str, Vec<u8>)> = vec![
        ("a tera of rows", footer(&file, &[(rows, 1 << 40), (values, 5 << 40)])),
        ("8 G of rows", footer(&file, &[(rows, 1 << 33), (values, 5 << 33)])),
        ("rows whose bytes overflow", footer(&file, &[(rows, 1 << 62), (values, 1 << 62)])),
        ("rows below 0", footer(&file, &[(rows, -5)])),
        ("values that the pages lack", footer(&file, &[(values, 1 << 40)])),
        ("values below 0", footer(&file, &[(values, -values)])),
        ("pages that have other values than the footer says", pages(&file, values, values + 70)),
        ("a footer longer than the file", [&file[..offset - 4], &[0xff, 0xff, 0xff, 0x7f], b"PAR1"].concat()),
        ("a list of structs that are not there", lying(list(12, 1 << 31))),
        ("a list of empty structs", lying([list(12, 8 << 20), vec![0; (8 << 20) + 1]].concat())),
        ("nested structs", lying(vec![0x1c; 1 << 20])),
        ("no footer", b"PAR1PAR1".to_vec()),
    ];
    for (what, bytes) in bombs {
        assert_refused(what, &read(&bytes));
    }
    // Numbers of the footer below 0, one at a time, as an attacker would try them: an error, or a file that is read.
    let length = u32::from_le_bytes(file[file.len() - 8..file.len() - 4].try_into().unwrap()) as usize;
    for at in (file.len() - 8 - length..file.len() - 8).step_by(9) {
        let mut bytes = file.clone();
        bytes[at] ^= 1;
        let output = read(&bytes);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code().is_some_and(|code| code <= 4), "byte {at}: {said}");
        assert!(!said.contains("panicked at"), "byte {at}: {said}");
    }
}

/// Runs and dictionaries make a few bytes of any number of equal rows, and every header says the same.
#[test]
fn rows_that_are_all_equal_are_counted_against_the_bytes_of_the_file() {
    const MANY: usize = 3 << 20;
    let scratch = Scratch::new("bombs-equal");
    let path = scratch.join("e.parquet");
    let properties = WriterProperties::builder().set_data_page_row_count_limit(MANY).set_write_batch_size(MANY).build();
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let mut writer = SerializedFileWriter::new(fs::File::create(&path).unwrap(), schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&vec![ByteArray::from("a"); MANY], None, None).unwrap();
    column.close().unwrap();
    write_lists(&mut group, 1, &vec![0.5; MANY]);
    group.close().unwrap();
    writer.close().unwrap();
    let bytes = fs::metadata(&path).unwrap().len();
    assert!(bytes < 2000, "{bytes} bytes");
    let out = scratch.join("sae");
    let output = coverslip(&["sae", "train", "--embeddings", text(&path), "--out", text(&out)]);
    assert_refused("equal rows", &output);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("rows in a file of") && said.contains("found 3145728"), "{said}");
}

/// A file of tiles whose columns of text are `texts`, each a dictionary of which all rows have the first entry.
fn repeated(path: &Path, rows: usize, columns: usize, text: &str) {
    let texts: String = (0..columns).map(|at| format!("required binary c{at} (STRING);")).collect();
    let schema = SCHEMA.replace("message embeddings {", &format!("message embeddings {{ {texts}"));
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_dictionary_page_size_limit(1 << 30)
        .set_write_batch_size(rows)
        .build();
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let mut writer = SerializedFileWriter::new(fs::File::create(path).unwrap(), schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let long = ByteArray::from(text);
    for at in 0..=columns {
        let cell = if at < columns { long.clone() } else { ByteArray::from("a") };
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&vec![cell; rows], None, None).unwrap();
        column.close().unwrap();
    }
    write_lists(&mut group, WIDTH, &(0..rows * WIDTH).map(|at| at as f32).collect::<Vec<f32>>());
    group.close().unwrap();
    writer.close().unwrap();
}

/// A dictionary has a text once for any number of cells, and a page may be compressed to next to nothing.
#[test]
fn texts_are_counted_before_they_are_kept() {
    let scratch = Scratch::new("bombs-texts");
    let path = scratch.join("e.parquet");
    let read = || coverslip(&["sae", "train", "--embeddings", text(&path), "--out", text(&scratch.join("sae"))]);
    let honest = "TCGA-A1-0001-01Z-00-DX1".repeat(4);
    repeated(&path, 20_000, 3, &honest);
    let output = read();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("held-out"), "an honest table is read: {said}");

    repeated(&path, 20_000, 1, &"x".repeat(1_000_000));
    let output = read();
    assert_refused("a long text in every row", &output);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("letters in the cells of its table"), "{said}");

    repeated(&path, 2, 5, &"x".repeat(120 << 20));
    let output = read();
    assert_refused("five pages that are held at once", &output);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("in the pages of its table"), "{said}");
}
