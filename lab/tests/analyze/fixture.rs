//! Small files whose answer is known, and the command on them.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use clap::Parser;
use coverslip_analysis::random::Random;
use coverslip_bundle::tensors::{Tensor, TensorMap, to_safetensors};
use coverslip_lab::cli::analyze::{Args, run};
use coverslip_lab::findings::file::Findings;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

/// Runs `analyze ARGUMENTS --out FOLDER/out`, where @ stands for the folder; the findings, or what it said instead.
pub(crate) fn analyze<F: Findings>(folder: &Path, arguments: &str) -> Result<F, String> {
    let place = |word: &str| word.replace('@', &format!("{}/", folder.display()));
    let arguments = format!("analyze {arguments} --out @out");
    let words = arguments.split(' ').map(place);
    let mut page = Vec::new();
    run(Command::parse_from(words).args, &mut page).map_err(|error| error.to_string())?;
    let page = String::from_utf8(page).unwrap();
    assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
    assert!(!page.contains("NaN"), "{page}");
    Ok(F::read(&folder.join("out").join(F::FILE)).unwrap())
}

/// 12 groups of 4 tiles. Feature 5 follows the lymphocytes; features 6 to 9 nothing; feature 3 follows them, but fires in
/// two groups only. Dimension 1 of taps last and block2 is feature 5; block1 is noise.
pub(crate) fn write(folder: &Path, seed: u64) {
    write_wide(folder, seed, [1, 1]);
}

/// The same with each embedding so many times side by side: block1's, and those of block2 and last.
pub(crate) fn write_wide(folder: &Path, seed: u64, times: [usize; 2]) {
    write_groups(folder, seed, times, 12);
}

/// The same with so many groups of 4 tiles.
pub(crate) fn write_groups(folder: &Path, seed: u64, times: [usize; 2], groups: usize) {
    let mut random = Random::new(seed);
    let (mut embedding, mut index, mut value) = (Vec::new(), Vec::new(), Vec::new());
    let mut noise = Vec::new();
    let (mut table, mut labels) = (String::from("slide,tile\n"), String::from("tile,lymphocytes,stroma,site,row\n"));
    for group in 0..groups {
        let level = 2.0 + 8.0 * random.uniform();
        for tile in 0..4 {
            let count = random.poisson(level) as f32;
            let following = 0.5 * count + 0.2 * random.normal() as f32;
            embedding.extend([random.normal() as f32, following, random.normal() as f32]);
            let rare = if group < 2 { count } else { 0.0 };
            noise.push(random.normal() as f32);
            index.extend([5, 3, 6 + random.below(4) as i32]);
            value.extend([following, rare, random.uniform() as f32 + 0.1]);
            writeln!(table, "s{group},s{group}_{tile}.png").unwrap();
            writeln!(labels, "s{group}_{tile},{count},{},here,{tile}", random.poisson(3.0) + group as u64 % 2).unwrap();
        }
    }
    let embedding: Vec<f32> = embedding.chunks(3).flat_map(|row| row.repeat(times[1])).collect();
    let noise: Vec<f32> = noise.chunks(1).flat_map(|row| row.repeat(times[0])).collect();
    let tensors = TensorMap::from([
        ("embedding_last".to_owned(), Tensor::f32(&[4 * groups, 3 * times[1]], &embedding)),
        ("embedding_block1".to_owned(), Tensor::f32(&[4 * groups, times[0]], &noise)),
        ("embedding_block2".to_owned(), Tensor::f32(&[4 * groups, 3 * times[1]], &embedding)),
        ("feature_index".to_owned(), Tensor::i32(&[4 * groups, 3], &index)),
        ("feature_value".to_owned(), Tensor::f32(&[4 * groups, 3], &value)),
    ]);
    embeddings(folder, &tensors, &table);
    fs::write(folder.join("labels.csv"), labels).unwrap();
}

/// Writes `e.safetensors` with its table.
pub(crate) fn embeddings(folder: &Path, tensors: &TensorMap, table: &str) {
    fs::write(folder.join("e.safetensors"), to_safetensors(tensors).unwrap()).unwrap();
    fs::write(folder.join("e.csv"), table).unwrap();
}
