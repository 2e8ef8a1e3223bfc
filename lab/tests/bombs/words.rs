//! What a command says of a stranger's file: what was expected, what was found and what to do, in a sentence that can be
//! read whatever the file says.

use std::fs;

use coverslip_bundle::tensors::{Tensor, TensorMap, to_safetensors};
use coverslip_testkit::Scratch;

use super::{assert_refused, coverslip, text, tiles, zip};

/// Runs a command that must refuse a file, and gives its sentence.
#[track_caller]
fn said(what: &str, arguments: &[&str]) -> String {
    let output = coverslip(arguments);
    assert_refused(what, &output);
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_table_that_is_no_table_is_told_what_it_lacks() {
    let scratch = Scratch::new("words-tables");
    let embeddings = scratch.join("e.safetensors");
    let values: Vec<f32> = (0..12u8).map(f32::from).collect();
    let tensors = TensorMap::from([("embedding_last".to_owned(), Tensor::f32(&[6, 2], &values))]);
    fs::write(&embeddings, to_safetensors(&tensors).unwrap()).unwrap();
    let rows: String = (0..6).map(|tile| format!("s{},t{tile}.png\n", tile / 2)).collect();
    fs::write(scratch.join("e.csv"), format!("slide,tile\n{rows}")).unwrap();
    let (labels, out) = (scratch.join("labels.csv"), scratch.join("out"));
    for (what, bytes, words) in [
        ("Latin-1", b"tile,Zellz\xe4hlung\nt0,1\n".to_vec(), "in UTF-8, found other bytes in line 1; save the table"),
        ("UTF-16", b"\xff\xfet\0i\0l\0e\0".to_vec(), "in UTF-8, found other bytes in line 1; save the table"),
        ("semicolons", b"tile;stroma\nt0;1\n".to_vec(), "found one column `tile;stroma`; separate columns by commas"),
        ("a row of three", b"tile,stroma\nt0,1\nt1,2,3\n".to_vec(), "expected 2 cells in each line, found 3 in line 3"),
        ("a long name", [&b"a"[..], &b"b".repeat(300_000), b"\nt0\n"].concat(), "characters are left out]"),
    ] {
        fs::write(&labels, bytes).unwrap();
        let mut arguments = vec!["analyze", "counts", "--embeddings", text(&embeddings), "--labels", text(&labels)];
        arguments.extend(["--tap", "last", "--out", text(&out)]);
        let sentence = said(what, &arguments);
        assert!(sentence.contains(words) && sentence.len() < 1500, "{what}: {sentence}");
    }
}

/// The pickle is `os.system("true")`, as an attacker writes it.
#[test]
fn a_checkpoint_that_only_calls_something_is_named_and_not_obeyed() {
    let scratch = Scratch::new("words-calls");
    let weights = scratch.join("w.pt");
    let mark = scratch.join("mark");
    let pickle = format!("cos\nsystem\n(Vtouch {}\ntR.", text(&mark));
    fs::write(&weights, zip::checkpoint(pickle.as_bytes())).unwrap();
    let (tiles, out) = (tiles(scratch.path()), scratch.join("out"));
    let arguments = ["bundle", "build", "--weights", text(&weights), "--tiles", text(&tiles), "--out", text(&out)];
    let sentence = said("a call", &arguments);
    assert!(
        sentence.contains("w.pt: expected a checkpoint with tensors, found none, but a call of `os.system`"),
        "{sentence}"
    );
    assert!(!mark.exists(), "the pickle was obeyed");
}

#[test]
fn an_encrypted_parquet_file_is_not_called_damaged() {
    let scratch = Scratch::new("words-encrypted");
    let (embeddings, out) = (scratch.join("e.parquet"), scratch.join("out"));
    // A footer that has nothing but the field of its encryption, and a file whose footer is encrypted too.
    let footer = [0x8c, 0x00, 0x00];
    for end in [&b"PAR1"[..], b"PARE"] {
        fs::write(&embeddings, [&footer[..], &(footer.len() as u32).to_le_bytes(), end].concat()).unwrap();
        let sentence = said("encrypted", &["sae", "train", "--embeddings", text(&embeddings), "--out", text(&out)]);
        assert!(sentence.contains("the file is encrypted, which is not read; write it without"), "{sentence}");
    }
}
