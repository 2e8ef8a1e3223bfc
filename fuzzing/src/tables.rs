//! Embeddings in Parquet, and the CSVs beside embeddings and of counts.

use std::fs;
use std::path::Path;

use clap::Parser;
use coverslip_bundle::tensors::{Tensor, TensorMap, to_safetensors};
use coverslip_lab::cli::analyze;
use coverslip_lab::embeddings::{
    COLUMNS, Content, EmbeddingFile, EmbeddingSet, InputState, SlideColumn, TapInfo, TileRecord, Writer,
};
use coverslip_testkit::Scratch;

use crate::input::{Input, Seeds, joined};

/// Tiles of the embeddings beside a CSV.
const TILES: usize = 6;
/// Most values of a tap that are read at once.
const MOST: usize = 1 << 20;

/// A Parquet file of embeddings.
pub(crate) fn parquet(data: &[u8]) -> bool {
    let scratch = Scratch::new("fuzz");
    let path = scratch.join("embeddings.parquet");
    fs::write(&path, data).expect("a scratch file");
    if let Ok(file) = EmbeddingFile::open(&path) {
        let mut values = Vec::new();
        for tap in file.taps() {
            if tap.width.checked_mul(file.len()).is_some_and(|values| values <= MOST) {
                let _ = file.read(&tap.name, file.len() - 1, 1, &mut values);
                let _ = file.read(&tap.name, 0, file.len(), &mut values);
            }
        }
        let _ = file.slides(&SlideColumn::default());
    }
    set(&path)
}

/// The table beside embeddings; with an odd first byte, the table of counts.
pub(crate) fn csv(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let counts = input.byte() & 1 != 0;
    let scratch = Scratch::new("fuzz");
    let path = scratch.join("e.safetensors");
    let features: Vec<i32> = (0..TILES as i32 * 2).map(|at| at % 5).collect();
    let values: Vec<f32> = (0..TILES * 2).map(|at| (at * 7 % 11) as f32 / 4.0).collect();
    let tensors = TensorMap::from([
        ("embedding_last".to_owned(), Tensor::f32(&[TILES, 2], &values)),
        ("feature_index".to_owned(), Tensor::i32(&[TILES, 2], &features)),
        ("feature_value".to_owned(), Tensor::f32(&[TILES, 2], &values)),
    ]);
    fs::write(&path, to_safetensors(&tensors).expect("small tensors")).expect("a scratch file");
    if !counts {
        fs::write(path.with_extension("csv"), input.rest()).expect("a scratch file");
        return set(&path);
    }
    let table: String = (0..TILES).map(|at| format!("s{},t{at}.png\n", at / 2)).collect();
    fs::write(path.with_extension("csv"), format!("slide,tile\n{table}")).expect("a scratch file");
    fs::write(scratch.join("labels.csv"), input.rest()).expect("a scratch file");
    counted(scratch.path())
}

/// Opens embeddings with their table and reads what analyses read.
fn set(path: &Path) -> bool {
    let Ok(set) = EmbeddingSet::open(path, &SlideColumn::default()) else { return false };
    for name in set.table().names() {
        let _ = set.table().number(name);
    }
    let small = |tap: &&TapInfo| tap.width.checked_mul(set.len()).is_some_and(|values| values <= MOST);
    let mut taken = !set.taps().is_empty();
    for tap in set.taps().iter().filter(small) {
        taken &= set.matrix(&tap.name).is_ok();
    }
    taken && set.features().is_ok()
}

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: analyze::Args,
}

/// Runs `analyze counts` on the folder's files.
fn counted(folder: &Path) -> bool {
    let words = "analyze counts --embeddings @e.safetensors --labels @labels.csv --tap last --least-groups 1 \
                 --permutations 19 --resamples 100 --out @out";
    let place = |word: &str| word.replace('@', &format!("{}/", folder.display()));
    let command = Command::try_parse_from(words.split(' ').filter(|word| !word.is_empty()).map(place));
    analyze::run(command.expect("words of our own").args, &mut Vec::new()).is_ok()
}

pub(crate) fn parquet_seeds() -> Seeds {
    [("plain", 0), ("features", 2)].map(|(name, k)| (name.to_owned(), written(k))).to_vec()
}

/// A Parquet file of two taps with `k` features.
fn written(k: usize) -> Vec<u8> {
    let scratch = Scratch::new("fuzz");
    let path = scratch.join("embeddings.parquet");
    let taps = [("early", 2), ("last", 3)].map(|(name, width)| TapInfo { name: name.to_owned(), width });
    let content = Content { taps: taps.to_vec(), k, tokens: false };
    let mut writer = Writer::open(&path, content, "seed", false).expect("a new file");
    for tile in 0..3 {
        let mut cells = vec![String::new(); COLUMNS.len()];
        for (cell, name) in cells.iter_mut().zip(COLUMNS) {
            *cell = if ["slide", "image", "tile", "scanner"].contains(&name) {
                format!("{name}{tile}")
            } else {
                tile.to_string()
            };
        }
        let embedding = (0..5).map(|at| (at * tile) as f32 / 8.0).collect();
        writer.push(&TileRecord { cells, embedding, features: vec![(tile, 1.0); k] }).expect("a tile");
    }
    writer.end("unit", InputState::default()).expect("an input");
    writer.commit().expect("a commit");
    writer.finish().expect("a finished file");
    fs::read(&path).expect("the file")
}

pub(crate) fn csv_seeds() -> Seeds {
    let table: String = (0..TILES).map(|at| format!("s{},t{at}.png,{at}.5\n", at / 2)).collect();
    let table = format!("slide,tile,mpp\n{table}");
    let counts: String = (0..TILES).map(|at| format!("t{at},{},{}\n", at * at % 5, 3 - at % 3)).collect();
    let counts = format!("tile,lymphocytes,stroma\n{counts}");
    vec![
        ("table".to_owned(), joined(0, &[], table.as_bytes())),
        ("counts".to_owned(), joined(1, &[], counts.as_bytes())),
    ]
}
