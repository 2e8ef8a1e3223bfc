//! Embedding files as `coverslip embed` writes them and other commands read them.

use std::fs;
use std::path::{Path, PathBuf};

use coverslip_bundle::tensors::{Tensor, TensorMap, to_safetensors};
use coverslip_lab::embeddings::{
    COLUMNS, Content, EmbeddingError, EmbeddingFile, EmbeddingSet, InputState, SlideColumn, TapInfo, TileRecord, Writer,
};
use coverslip_testkit::Scratch;

/// A file with one tap `a` of two values per tile, and its table.
fn set(folder: &Scratch, values: &[f32], table: &str) -> PathBuf {
    let n = values.len() / 2;
    let tensors = TensorMap::from([("embedding_a".to_owned(), Tensor::f32(&[n, 2], values))]);
    let path = folder.join("set.safetensors");
    fs::write(&path, to_safetensors(&tensors).unwrap()).unwrap();
    fs::write(path.with_extension("csv"), table).unwrap();
    path
}

fn taps() -> Vec<TapInfo> {
    vec![TapInfo { name: "block_3".into(), width: 3 }, TapInfo { name: "final".into(), width: 2 }]
}

fn content(k: usize) -> Content {
    Content { taps: taps(), k, tokens: false }
}

fn tile(slide: &str, at: usize) -> TileRecord {
    let mut cells = vec![String::new(); COLUMNS.len()];
    cells[0] = slide.into();
    cells[1] = format!("{slide}, \"quoted\".png");
    cells[5] = (at * 448).to_string();
    cells[9] = "0.25".into();
    let value = |i: usize| at as f32 + i as f32 / 8.0;
    TileRecord { cells, embedding: (0..5).map(value).collect(), features: vec![(at as u32, 2.5), (7, 1.0)] }
}

fn check(path: &Path, slides: &[&str]) {
    let set = EmbeddingSet::open(path, &SlideColumn::default()).unwrap();
    assert_eq!((set.len(), set.taps()), (slides.len(), &taps()[..]));
    let (first, last) = (set.matrix("block_3").unwrap(), set.matrix("final").unwrap());
    for row in 0..set.len() {
        assert_eq!(first[(row, 2)], row as f64 + 0.25);
        assert_eq!(last[(row, 1)], row as f64 + 0.5);
    }
    assert_eq!(set.table().column("slide").unwrap(), slides);
    assert_eq!(set.table().column("image").unwrap()[0], "s, \"quoted\".png");
    assert_eq!(set.table().number("x").unwrap().unwrap()[1], 448.0);
    assert!(set.table().number("tissue").unwrap().unwrap()[0].is_nan());
    assert_eq!(set.table().number("unknown").unwrap(), None);
    let features = set.features().unwrap().unwrap();
    assert_eq!((features.k, &features.index[..6]), (3, &[0, 7, 0, 1, 7, 0][..]));
    assert_eq!(&features.value[..3], &[2.5, 1.0, 0.0]);
}

#[test]
fn a_run_that_was_cut_off_goes_on_behind_its_last_commit() {
    for name in ["e.safetensors", "e.parquet"] {
        let folder = Scratch::new(&format!("resume-{name}"));
        let out = folder.join(name);
        let mut writer = Writer::open(&out, content(3), "v4: mpp=0.5", false).unwrap();
        writer.push(&tile("s", 0)).unwrap();
        writer.end("s", InputState::default()).unwrap();
        writer.commit().unwrap();
        writer.push(&tile("lost", 1)).unwrap();
        drop(writer);
        let refused = Writer::open(&out, content(3), "v4: mpp=0.25", false).unwrap_err().to_string();
        assert!(refused.contains("--mpp 0.25 now, 0.5 in the earlier run; give the earlier options"), "{refused}");
        let mut writer = Writer::open(&out, content(3), "v4: mpp=0.5", false).unwrap();
        assert!(writer.written("s").is_some() && writer.written("t").is_none() && writer.tiles() == 1);
        writer.push(&tile("t", 1)).unwrap();
        writer.push(&tile("t", 2)).unwrap();
        writer.end("t", InputState::default()).unwrap();
        writer.commit().unwrap();
        assert!(!out.exists(), "the file appears whole");
        assert_eq!(writer.finish().unwrap(), 3);
        assert!(!folder.join(&format!("{name}.partial")).exists());
        check(&out, &["s", "t", "t"]);
    }
}

#[test]
fn a_journal_without_tiles_is_taken_over() {
    let folder = Scratch::new("empty-journal");
    let (out, partial) = (folder.join("e.parquet"), folder.join("e.parquet.partial"));
    // Nothing was committed.
    drop(Writer::open(&out, content(3), "v4: mpp=0.25", false).unwrap());
    assert!(!partial.exists());
    let mut writer = Writer::open(&out, content(3), "v4: mpp=0.25", false).unwrap();
    writer.end("small", InputState::default()).unwrap();
    writer.commit().unwrap();
    // As one that was killed.
    drop(writer);
    assert!(partial.exists());
    let mut writer = Writer::open(&out, content(3), "v4: mpp=0.5", false).unwrap();
    assert!(writer.written("small").is_none(), "it is looked at again");
    [0, 1].iter().for_each(|at| writer.push(&tile("s", *at)).unwrap());
    writer.end("s", InputState::default()).unwrap();
    assert_eq!(writer.finish().unwrap(), 2);
    check(&out, &["s", "s"]);
    // What is given up goes, also where it was committed, and what is not the run's own stays.
    let mut writer = Writer::open(&out, content(3), "v4: mpp=0.5", true).unwrap();
    writer.commit().unwrap();
    fs::write(partial.join("mine"), "").unwrap();
    writer.discard();
    let left: Vec<_> = fs::read_dir(&partial).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["mine"]);
}

#[test]
fn the_tiles_of_a_replaced_input_are_left_out() {
    for name in ["e.safetensors", "e.parquet"] {
        let folder = Scratch::new(&format!("replaced-{name}"));
        let out = folder.join(name);
        let state = |text: &str| {
            let path = folder.join("input");
            fs::write(&path, text).unwrap();
            InputState::of(&path).unwrap()
        };
        let (first, second) = (state("first"), state("other"));
        let mut writer = Writer::open(&out, content(3), "key", false).unwrap();
        for (input, tiles) in [("s", 0..1), ("gone", 7..9), ("t", 1..2), ("last", 8..9)] {
            tiles.for_each(|at| writer.push(&tile(input, at)).unwrap());
            writer.end(input, first.clone()).unwrap();
        }
        writer.commit().unwrap();
        drop(writer);

        let mut writer = Writer::open(&out, content(3), "key", false).unwrap();
        assert!(writer.written("gone") == Some(&first) && first != second);
        ["gone", "last"].iter().for_each(|input| writer.forget(input));
        assert_eq!((writer.tiles(), writer.written("gone")), (2, None));
        writer.commit().unwrap();
        drop(writer);

        let mut writer = Writer::open(&out, content(3), "key", false).unwrap();
        writer.push(&tile("gone", 2)).unwrap();
        writer.end("gone", second).unwrap();
        assert_eq!(writer.finish().unwrap(), 3);
        check(&out, &["s", "t", "gone"]);
    }
}

#[test]
fn a_file_that_is_there_is_not_replaced_unasked() {
    let folder = Scratch::new("vacant");
    let out = folder.join("e.safetensors");
    fs::write(folder.join("e.csv"), "mine").unwrap();
    let refused = Writer::open(&out, content(3), "key", false).unwrap_err().0;
    assert!(refused.contains("e.csv: expected no file there, found one") && refused.contains("--force"), "{refused}");
    assert!(!folder.join("e.safetensors.partial").exists(), "nothing is begun");
    Writer::open(&folder.join("e.parquet"), content(3), "key", false).unwrap();
    let mut writer = Writer::open(&out, content(3), "key", true).unwrap();
    writer.push(&tile("s", 0)).unwrap();
    writer.push(&tile("s", 1)).unwrap();
    writer.end("s", InputState::default()).unwrap();
    writer.commit().unwrap();
    drop(writer);
    // What a run with --force began goes on without it.
    Writer::open(&out, content(3), "key", false).unwrap().finish().unwrap();
    check(&out, &["s", "s"]);
    fs::remove_file(folder.join("e.csv")).unwrap();
    let refused = Writer::open(&out, content(3), "key", false).unwrap_err().0;
    assert!(refused.contains("e.safetensors: expected no file there"), "{refused}");
}

#[test]
fn blocks_are_read_from_their_place_across_row_groups() {
    let folder = Scratch::new("blocks");
    for name in ["b.safetensors", "b.parquet"] {
        let out = folder.join(name);
        let content = Content { taps: vec![TapInfo { name: "a".into(), width: 2 }], k: 0, tokens: false };
        let mut writer = Writer::open(&out, content, "", false).unwrap();
        for at in 0..9000 {
            let tile = TileRecord { embedding: vec![at as f32, -(at as f32)], features: vec![], ..tile("s", at) };
            writer.push(&tile).unwrap();
        }
        writer.finish().unwrap();
        let file = EmbeddingFile::open(&out).unwrap();
        let mut block = Vec::new();
        file.read("a", 4090, 4200, &mut block).unwrap();
        assert_eq!(block.len(), 8400);
        assert_eq!((block[0], block[1], block[8398]), (4090.0, -4090.0, 8289.0));
        assert!(file.read("a", 8999, 2, &mut block).unwrap_err().0.contains("expected rows below 9000"));
        let slides = file.slides(&SlideColumn::default()).unwrap();
        assert_eq!((slides.names(), slides.len()), (&["s".to_owned()][..], 9000));
        assert_eq!(EmbeddingSet::open(&out, &SlideColumn::default()).unwrap().features().unwrap(), None);
    }
}

#[test]
fn bad_files_are_named() {
    let folder = Scratch::new("bad");
    let error = |path: &Path| EmbeddingSet::open(path, &SlideColumn::default()).unwrap_err().0;
    let path = set(&folder, &[1.0, 2.0, 3.0, f32::NAN], "slide\na\nb\n");
    let found = EmbeddingSet::open(&path, &SlideColumn::default()).unwrap().matrix("a").unwrap_err().0;
    assert!(found.contains("found NaN in tile 1 (counted from 0), value 1 of tap a"), "{found}");
    let found = EmbeddingSet::open(&path, &SlideColumn::default()).unwrap().matrix("b").unwrap_err().0;
    assert!(found.contains("expected a tap `b`, found a"), "{found}");
    let path = set(&folder, &[1.0, 2.0, 3.0, f32::INFINITY], "slide\na\n");
    assert!(error(&path).contains("expected a row for each of the 2 tiles, found 1 rows"), "{}", error(&path));
    let path = set(&folder, &[1.0, 2.0], "image\na\n");
    assert!(error(&path).contains("expected a column `slide`, `slide_id`, `sample_id` with each tile's slide, or --slide-column NAME; found image"), "{}", error(&path));
    let path = set(&folder, &[1.0, 2.0], "slide,mpp\na,half\n");
    let found = EmbeddingSet::open(&path, &SlideColumn::default()).unwrap().table().number("mpp").unwrap_err().0;
    assert!(found.contains("column mpp, row 0") && found.contains("\"half\""), "{found}");
    let path = set(&folder, &[1.0, 2.0], "slide,mpp\na\n");
    assert!(error(&path).contains("set.csv"), "{}", error(&path));
    fs::remove_file(path.with_extension("csv")).unwrap();
    assert!(error(&path).contains("CSV with a column that names the slide"), "{}", error(&path));
    let path = set(&folder, &[], "slide\n");
    assert!(error(&path).contains("at least one tile"), "{}", error(&path));
    assert!(error(&folder.join("x.npy")).contains(".safetensors or .parquet"), "{}", error(&folder.join("x.npy")));
    assert!(Writer::open(&folder.join("x.npy"), content(0), "", false).is_err());
}

#[test]
fn other_matrices_of_floats_are_taps_under_their_own_names() {
    let folder = Scratch::new("other");
    let path = folder.join("hipt.safetensors");
    let tensors = TensorMap::from([
        ("features".to_owned(), Tensor::f16(&[2, 3], &[0.5, 1.0, -2.0, 0.0, 4.0, 8.0])),
        ("counts".to_owned(), Tensor::i32(&[2, 3], &[0; 6])),
        ("mean".to_owned(), Tensor::f32(&[3], &[0.0; 3])),
    ]);
    fs::write(&path, to_safetensors(&tensors).unwrap()).unwrap();
    fs::write(path.with_extension("csv"), "slide,grade\na,2\nb,3\n").unwrap();
    let set = EmbeddingSet::open(&path, &SlideColumn::default()).unwrap();
    assert_eq!(set.taps(), [TapInfo { name: "features".into(), width: 3 }]);
    assert_eq!(set.matrix("features").unwrap()[(0, 2)], -2.0);
    assert_eq!(set.table().names(), ["slide", "grade"]);
}

#[test]
fn the_slide_is_named_by_a_known_column_or_by_the_one_that_is_asked_for() {
    let folder = Scratch::new("slide-column");
    let slides = |table: &str, column: Option<&str>| {
        let path = set(&folder, &[1.0, 2.0, 3.0, 4.0], table);
        let column = SlideColumn::new(column.map(str::to_owned));
        let set = EmbeddingSet::open(&path, &column)?;
        // The file that is read in blocks says the same as the one that is read whole.
        let streamed = EmbeddingFile::open(&path).unwrap().slides(&column)?;
        let cells = set.table().column("slide").unwrap().to_vec();
        assert_eq!(streamed.codes().iter().map(|&code| streamed.names()[code].clone()).collect::<Vec<_>>(), cells);
        Ok::<_, EmbeddingError>(cells)
    };
    assert_eq!(slides("tile,slide_id\n1,a\n2,b\n", None).unwrap(), ["a", "b"]);
    assert_eq!(slides("sample_id,tile\nc,1\nd,2\n", None).unwrap(), ["c", "d"]);
    assert_eq!(slides("slide_id,slide\na,s\nb,t\n", None).unwrap(), ["s", "t"]);
    assert_eq!(slides("slide,case\na,x\nb,x\n", Some("case")).unwrap(), ["x", "x"]);
    let refused = slides("slide,case\na,x\nb,x\n", Some("patient")).unwrap_err().0;
    assert!(refused.contains("the column `patient` of --slide-column; found slide, case"), "{refused}");
}
