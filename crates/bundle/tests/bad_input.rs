//! Every way in which a bundle can be wrong gives an error with a kind and a message, never a panic.

use std::fs;

use coverslip_bundle::BundleErrorKind::{
    DigestMismatch, Invalid, Missing, NotFinite, TooLarge, Truncated, Unsupported, UnsupportedVersion,
};
use coverslip_bundle::synthetic::SyntheticSpec;
use coverslip_bundle::tensors::Tensor;
use coverslip_bundle::{Bundle, MANIFEST_FILE, MODEL_FILE, REFERENCE_FILE, SAE_FILE};
use coverslip_testkit::Fixture;
use serde_json::json;

#[test]
fn missing() {
    let fixture = Fixture::new();
    let nowhere = Bundle::open(&fixture.dir().join("nowhere"));
    coverslip_testkit::assert_refused(nowhere, Missing, &["nowhere", "directory", "manifest.json"]);
    fs::remove_file(fixture.dir().join(SAE_FILE)).unwrap();
    fixture.refuses(Missing, &[SAE_FILE]);
    fs::remove_file(fixture.dir().join(MANIFEST_FILE)).unwrap();
    fixture.refuses(Missing, &[MANIFEST_FILE]);
}

#[test]
fn a_file_that_the_manifest_omits() {
    for name in [MODEL_FILE, SAE_FILE, REFERENCE_FILE] {
        let fixture = Fixture::new();
        fixture.edit(|m| {
            m["files"].as_object_mut().unwrap().remove(name);
        });
        fixture.refuses(Missing, &["does not list", name]);
    }
}

#[test]
fn truncated() {
    for name in [MODEL_FILE, SAE_FILE, REFERENCE_FILE, "CARD.md"] {
        let fixture = Fixture::new();
        let path = fixture.dir().join(name);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        fixture.refuses(Truncated, &[name, "bytes", "copy it again"]);
    }
    // If the manifest states the truncated file's size and digest, the tensors' own header still shows the cut.
    let fixture = Fixture::new();
    let bytes = fs::read(fixture.dir().join(MODEL_FILE)).unwrap();
    fixture.seal(MODEL_FILE, &bytes[..bytes.len() / 2]);
    fixture.refuses(Truncated, &[MODEL_FILE, "safetensors"]);
}

#[test]
fn a_manifest_cut_anywhere_is_refused() {
    let fixture = Fixture::new();
    let path = fixture.dir().join(MANIFEST_FILE);
    let bytes = fs::read(&path).unwrap();
    for cut in (0..bytes.len() - 2).step_by(17) {
        fs::write(&path, &bytes[..cut]).unwrap();
        fixture.refuses(Truncated, &[MANIFEST_FILE, "ends too early"]);
    }
}

#[test]
fn longer_than_stated() {
    let fixture = Fixture::new();
    let path = fixture.dir().join(MODEL_FILE);
    let mut bytes = fs::read(&path).unwrap();
    bytes.push(0);
    fs::write(&path, bytes).unwrap();
    fixture.refuses(Invalid, &[MODEL_FILE, "bytes, the manifest says"]);
}

#[test]
fn every_flipped_bit_is_detected() {
    for name in [MODEL_FILE, SAE_FILE, REFERENCE_FILE, "CARD.md"] {
        let fixture = Fixture::new();
        let path = fixture.dir().join(name);
        let bytes = fs::read(&path).unwrap();
        for at in (0..bytes.len()).step_by(bytes.len() / 13 + 1) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&path, &flipped).unwrap();
            fixture.refuses(DigestMismatch, &[name, "sha256", "copy it again"]);
        }
    }
}

#[test]
fn a_flipped_bit_in_the_manifest_changes_the_digest_or_is_refused() {
    let fixture = Fixture::new();
    let path = fixture.dir().join(MANIFEST_FILE);
    let bytes = fs::read(&path).unwrap();
    let digest = fixture.open().unwrap().digest();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&path, &flipped).unwrap();
        if let Ok(bundle) = fixture.open() {
            assert_ne!(bundle.digest(), digest);
        }
    }
}

#[test]
fn headers_of_random_bytes_do_not_panic() {
    let fixture = Fixture::new();
    let bytes = fs::read(fixture.dir().join(SAE_FILE)).unwrap();
    for at in 0..400 {
        let mut flipped = bytes.clone();
        flipped[at] = flipped[at].wrapping_add(1 + (at % 200) as u8);
        fixture.seal(SAE_FILE, &flipped);
        if let Ok(bundle) = fixture.open() {
            bundle.compose().unwrap();
        }
    }
}

#[test]
fn wrong_version() {
    let fixture = Fixture::new();
    fixture.edit(|m| m["format"] = json!("coverslip.bundle/2"));
    fixture.refuses(UnsupportedVersion, &["coverslip.bundle/2", "reads `coverslip.bundle/1`", "update"]);
    // A later version's fields may mean anything, so the error names the version, not a field.
    fixture.edit(|m| m["sae"] = json!(["whatever"]));
    fixture.refuses(UnsupportedVersion, &["coverslip.bundle/2"]);
    fixture.edit(|m| {
        m.as_object_mut().unwrap().remove("format");
    });
    fixture.refuses(Invalid, &["no `format`"]);
}

#[test]
fn unknown_fields_are_refused_except_in_annotations() {
    for pointer in ["", "/architecture", "/sae", "/taps/0", "/sae/reference"] {
        let fixture = Fixture::new();
        fixture.edit(|m| m.pointer_mut(pointer).unwrap()["rotary"] = json!(true));
        fixture.refuses(Invalid, &["unknown field `rotary`"]);
    }
    let fixture = Fixture::new();
    fixture.edit(|m| m["annotations"] = json!({ "trained": "in an afternoon" }));
    fixture.open().unwrap();
}

#[test]
fn unsupported_by_name() {
    let cases = [
        ("/architecture/family", "swin"),
        ("/sae/architecture", "batchtopk"),
        ("/architecture/mlp", "relu"),
        ("/taps/1/pooling", "attention"),
    ];
    for (pointer, name) in cases {
        let fixture = Fixture::new();
        fixture.edit(|m| *m.pointer_mut(pointer).unwrap() = json!(name));
        fixture.refuses(Unsupported, &[name, "not supported in this version", "expected"]);
    }
}

#[test]
fn patch_tokens_are_no_input_of_an_sae_and_have_a_budget() {
    let fixture = Fixture::new();
    fixture.edit(|m| {
        m["taps"][1]["pooling"] = json!("patch_tokens");
        m["sae"]["d_in"] = json!(512);
    });
    fixture.refuses(Invalid, &["tap `last`", "patch tokens one by one", "one vector per tile"]);
    // 1,023 patches of 4,096 values are the most, and 1,024 of them beyond it.
    let fixture = Fixture::new();
    fixture.edit(|m| {
        m["side"] = json!(256);
        m["architecture"]["embed_dim"] = json!(4096);
        m["taps"][0]["pooling"] = json!("patch_tokens");
    });
    fixture.refuses(TooLarge, &["values of all taps per tile", "4198400", "at most 4190208"]);
}

#[test]
fn absurd_sizes_cost_no_memory() {
    let huge = u64::MAX / 2;
    let cases = [
        ("/side", json!(huge), TooLarge, "`side`"),
        ("/side", json!(2048), TooLarge, "at most 1024"),
        ("/side", json!(0), Invalid, "`side` is 0"),
        ("/side", json!(33), Invalid, "not a multiple"),
        ("/side", json!(-32), Invalid, "-32"),
        ("/side", json!(1e300), Invalid, "1e"),
        ("/architecture/depth", json!(huge), TooLarge, "architecture.depth"),
        ("/architecture/embed_dim", json!(huge), TooLarge, "architecture.embed_dim"),
        ("/architecture/heads", json!(0), Invalid, "architecture.heads"),
        ("/architecture/heads", json!(5), Invalid, "does not divide"),
        ("/architecture/patch", json!(huge), TooLarge, "architecture.patch"),
        ("/architecture/mlp_dim", json!(huge), TooLarge, "architecture.mlp_dim"),
        ("/architecture/register_tokens", json!(huge), TooLarge, "register_tokens"),
        ("/sae/d_sae", json!(huge), TooLarge, "sae.d_sae"),
        ("/sae/outputs", json!(129), TooLarge, "at most 128"),
        ("/sae/outputs", json!(0), Invalid, "sae.outputs"),
        ("/sae/d_in", json!(33), Invalid, "has 32 values"),
        ("/sae/k", json!(4), Invalid, "`sae.k` is 4,"),
        ("/sae/k", json!(null), Invalid, "`sae.k` is not set,"),
        ("/name", json!("a\u{0}b"), Invalid, r"`name` is `a\0b`"),
        ("/name", json!("a\nb"), Invalid, "expected one line"),
        ("/mpp", json!(0.0), Invalid, "`mpp` is 0"),
        ("/mpp", json!(-0.5), Invalid, "`mpp` is -0.5"),
        ("/std/1", json!(0.0), Invalid, "`std` is 0"),
        ("/architecture/layer_norm_eps", json!(0), Invalid, "layer_norm_eps"),
        ("/taps/0/after_block", json!(2), Invalid, "numbered 0 to 1"),
        ("/taps/0/name", json!("Last"), Invalid, "a-z 0-9 _"),
        ("/taps/0/name", json!("last"), Invalid, "two taps"),
        ("/taps", json!([]), Invalid, "number of taps"),
        ("/sae/tap", json!("middle"), Invalid, "early, last"),
        ("/taps/1/pooling", json!("patch_tokens"), Invalid, "`sae.d_in` is 32, but tap `last` has 512 values"),
        ("/sae/labels", json!([{ "index": 128, "label": "x" }]), Invalid, "feature 128"),
        ("/sae/reference/mean_square_deviation", json!(0.0), Invalid, "mean_square_deviation"),
        ("/sae/reference/error_quantiles", json!({ "0.5": 2, "0.99": 1 }), Invalid, "ascend"),
        ("/sae/reference/error_quantiles", json!({ "0.5": 2 }), Missing, "0.99"),
        ("/licence", json!("  "), Invalid, "`licence` is empty"),
        ("/files/model.safetensors/bytes", json!(huge), TooLarge, "model.safetensors"),
    ];
    for (pointer, value, kind, part) in cases {
        let fixture = Fixture::new();
        fixture.edit(|m| {
            let slot = match m.pointer_mut(pointer) {
                Some(slot) => slot,
                // The field is omitted when empty.
                None => &mut m["sae"]["labels"],
            };
            *slot = value;
        });
        fixture.refuses(kind, &[part]);
    }
}

/// At 1024 px in patches of 16 px a ViT has 4097 tokens.
#[test]
fn a_transformer_has_the_budget_of_a_graph() {
    let fixture = Fixture::new();
    fixture.edit(|m| {
        m["side"] = json!(1024);
        m["architecture"]["patch"] = json!(16);
        m["architecture"]["embed_dim"] = json!(128);
        m["architecture"]["heads"] = json!(128);
        m["sae"]["d_in"] = json!(128);
    });
    fixture.refuses(TooLarge, &["attention", "128 heads over 4097 tokens", "expected at most"]);
}

#[test]
fn the_total_of_parameters_is_limited() {
    let fixture = Fixture::new();
    fixture.edit(|m| {
        m["architecture"]["embed_dim"] = json!(4096);
        m["architecture"]["depth"] = json!(64);
        m["architecture"]["mlp_dim"] = json!(32768);
        m["sae"]["d_in"] = json!(4096);
    });
    fixture.refuses(TooLarge, &["parameters", "4000000000"]);
}

#[test]
fn paths_do_not_leave_the_directory() {
    for name in ["../secret", "a/b", "/etc/passwd", "..", ".hidden", "a\\b", "", "C:evil", "x\u{0}y"] {
        let fixture = Fixture::new();
        fixture.edit(|m| {
            m["files"][name] = json!({ "bytes": 1, "sha256": "0".repeat(64) });
        });
        fixture.refuses(Invalid, &["is not a valid file name in a bundle"]);
    }
    let fixture = Fixture::new();
    fixture.edit(|m| m["files"]["Manifest.JSON"] = json!({ "bytes": 1, "sha256": "0".repeat(64) }));
    fixture.refuses(Invalid, &["lists the manifest itself"]);
}

#[test]
fn files_that_are_not_listed() {
    let fixture = Fixture::new();
    fs::write(fixture.dir().join(".DS_Store"), "a desktop's droppings").unwrap();
    fixture.open().unwrap();
    fs::write(fixture.dir().join("extra.safetensors"), "").unwrap();
    fixture.refuses(Invalid, &["extra.safetensors", "not listed"]);
}

#[test]
fn a_directory_in_a_files_place() {
    let fixture = Fixture::new();
    fs::remove_file(fixture.dir().join("CARD.md")).unwrap();
    fs::create_dir(fixture.dir().join("CARD.md")).unwrap();
    fixture.refuses(Invalid, &["CARD.md", "is not a file"]);
}

#[test]
fn malformed_digests() {
    let fixture = Fixture::new();
    fixture.edit(|m| m["files"][MODEL_FILE]["sha256"] = json!("é".repeat(32)));
    fixture.refuses(Invalid, &["64 hexadecimal digits"]);
}

#[test]
fn weights_that_are_not_finite() {
    for (half, bad) in [(false, f32::NAN), (false, f32::INFINITY), (true, f32::NEG_INFINITY)] {
        for (file, tensor) in [(MODEL_FILE, "blocks.1.mlp.fc2.bias"), (SAE_FILE, "b_enc")] {
            let fixture = Fixture::with(&SyntheticSpec { half, ..SyntheticSpec::default() });
            fixture.edit_tensors(file, |tensors| {
                let shape = tensors[tensor].shape.clone();
                let mut values = vec![0.5; shape[0]];
                values[3] = bad;
                let replaced = if half { Tensor::f16(&shape, &values) } else { Tensor::f32(&shape, &values) };
                tensors.insert(tensor.to_owned(), replaced);
            });
            fixture.refuses(NotFinite, &[file, tensor, "element 3"]);
        }
    }
}

#[test]
fn tensors_that_do_not_fit() {
    let fixture = Fixture::new();
    fixture.edit_tensors(MODEL_FILE, |t| {
        t.remove("pos_embed");
    });
    fixture.refuses(Missing, &["pos_embed"]);

    let fixture = Fixture::new();
    fixture.edit_tensors(SAE_FILE, |t| {
        t.insert("W_enc".to_owned(), Tensor::f32(&[128, 32], &[0.0; 4096]));
    });
    fixture.refuses(Invalid, &["W_enc", "[128, 32]", "expected [32, 128]"]);

    let fixture = Fixture::new();
    fixture.edit_tensors(MODEL_FILE, |t| {
        t.insert("blocks.0.attn.q_norm.weight".to_owned(), Tensor::f32(&[8], &[1.0; 8]));
    });
    fixture.refuses(Invalid, &["q_norm", "not described by the manifest"]);

    let fixture = Fixture::new();
    fixture.edit_tensors(SAE_FILE, |t| {
        t.insert("b_dec".to_owned(), Tensor::i32(&[32], &[0; 32]));
    });
    fixture.refuses(Invalid, &["b_dec", "floating point"]);
}

#[test]
fn references_that_do_not_fit() {
    let fixture = Fixture::new();
    fixture.edit_tensors(REFERENCE_FILE, |t| {
        t.insert("feature_index".to_owned(), Tensor::i32(&[2, 8], &[128; 16]));
    });
    fixture.refuses(Invalid, &[REFERENCE_FILE, "outside the SAE's 128 features"]);

    let fixture = Fixture::new();
    fixture.edit_tensors(REFERENCE_FILE, |t| {
        t.insert("tiles".to_owned(), Tensor::u8(&[0, 32, 32, 3], &[]));
    });
    fixture.refuses(Invalid, &["`tiles` is empty"]);

    let fixture = Fixture::new();
    fixture.edit_tensors(REFERENCE_FILE, |t| {
        t.insert("embedding.last".to_owned(), Tensor::f32(&[2, 32], &[f32::NAN; 64]));
    });
    fixture.refuses(NotFinite, &[REFERENCE_FILE]);
}
