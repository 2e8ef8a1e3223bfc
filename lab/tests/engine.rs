//! `coverslip engine` and `coverslip doctor`, as a person runs them. What needs TensorRT-RTX (`COVERSLIP_TENSORRT_RTX`)
//! is left out without it and says so; no GPU is needed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn coverslip(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_coverslip")).args(arguments).output().expect("the command runs")
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

/// Without its line breaks.
fn flat(page: &str) -> String {
    page.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn demo() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundles/demo").display().to_string()
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    folder
}

fn rtx() -> Option<String> {
    let path = std::env::var("COVERSLIP_TENSORRT_RTX").ok().filter(|path| !path.is_empty());
    if path.is_none() {
        #[allow(clippy::print_stderr, reason = "a test says why it is left out")]
        {
            eprintln!("left out: COVERSLIP_TENSORRT_RTX does not name a TensorRT-RTX library");
        }
    }
    path
}

/// A page that fits the terminal, paths apart: they are not broken.
#[track_caller]
fn assert_narrow(page: &str) {
    let wide = page.lines().find(|line| line.chars().count() > 80 && !line.contains('/'));
    assert_eq!(wide, None, "{page}");
}

#[test]
fn the_demo_bundle_becomes_a_plan_that_tells_what_it_is() {
    let Some(library) = rtx() else { return };
    let plan = folder("engine").join("demo.plan");
    let out = plan.display().to_string();
    for (precision, target, expected) in [
        ("fp16", "sm120,sm89,sm86,sm80,sm121", "float16 for sm80, sm86, sm89, sm120, sm121, batches of 1 to 8"),
        ("fp16", "sm75", "float16-sae for sm75, batches of 1 to 8"),
        ("bf16", "8.9,sm86", "bfloat16 for sm86, sm89, batches of 1 to 8"),
        ("fp32", "sm86", "float32 for sm86, batches of 1 to 8"),
    ] {
        let built = coverslip(&[
            "engine",
            "build",
            "--bundle",
            &demo(),
            "--library",
            &library,
            "--precision",
            precision,
            "--max-batch",
            "8",
            "--target",
            target,
            "--out",
            &out,
        ]);
        let said = text(&built);
        assert!(built.status.success(), "{said}");
        assert!(said.contains(expected), "{said}");
        assert!(!said.contains('\r'), "no line is drawn over where nobody watches: {said:?}");
        let digest = said.lines().find_map(|line| line.strip_prefix("sha256 ")).expect("the file's digest").to_owned();

        let page = text(&coverslip(&["engine", "inspect", &out, "--library", &library]));
        assert!(page.contains(&digest) && page.contains("this program's") && page.contains("TensorRT-RTX"), "{page}");
        assert_narrow(&page);
    }
    let mut bytes = std::fs::read(&plan).expect("the plan");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&plan, bytes).expect("a damaged plan");
    let refused = coverslip(&["engine", "inspect", &out]);
    assert!(!refused.status.success() && text(&refused).contains("damaged, build it again"), "{}", text(&refused));
}

#[test]
fn what_cannot_be_built_is_said_and_nothing_is_written() {
    let Some(library) = rtx() else { return };
    let plan = folder("engine-refused").join("none.plan");
    let out = plan.display().to_string();
    let build = |library: &str, more: &[&str]| {
        let head = ["engine", "build", "--bundle", &demo(), "--library", library, "--out", &out];
        coverslip(&[&head[..], more].concat())
    };
    let cases: [(&str, &[&str], &str); 8] = [
        (&library, &["--target", "sm75,sm86"], "sm75 by itself"),
        (&library, &["--target", "sm75", "--precision", "bf16"], "sm75"),
        (&library, &["--target", "sm75", "--precision", "fp32"], "FP32 GEMM is not supported"),
        (&library, &["--target", "sm999"], "999"),
        (&library, &["--target", "turing"], "no compute capability"),
        (&library, &["--precision", "int8", "--target", "sm86"], "fp16"),
        (&library, &["--max-batch", "1000", "--target", "sm86"], "256"),
        ("/no/such/libtensorrt_rtx.so.1", &["--target", "sm86"], "there is no /no/such"),
    ];
    for (library, more, part) in cases {
        let refused = build(library, more);
        assert!(!refused.status.success() && flat(&text(&refused)).contains(part), "{more:?}: {}", text(&refused));
    }
    assert!(!plan.exists());
}

#[test]
fn no_file_of_another_kind_and_none_that_is_read_is_replaced() {
    let place = folder("engine-mine").join("mine.json");
    std::fs::write(&place, r#"{"mine": 1}"#).expect("a file");
    let (demo, path) = (demo(), place.display().to_string());
    let (demo, out) = (demo.as_str(), path.as_str());
    let build = ["engine", "build", "--bundle", demo, "--target", "sm86", "--out", out, "--library"];
    let of_another_kind = "found: a file of another kind. Give another name";
    let cases: [(Vec<&str>, &str); 3] = [
        (vec!["engine", "tune", "--bundle", demo, "--out", out], of_another_kind),
        ([&build[..], &["/no/such/libtensorrt_rtx.so.1"]].concat(), of_another_kind),
        ([&build[..], &[out]].concat(), "expected another file than those that the command reads"),
    ];
    for (arguments, part) in cases {
        let refused = coverslip(&arguments);
        assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
        assert!(text(&refused).contains(part), "{}", text(&refused));
        assert_eq!(std::fs::read_to_string(&place).expect("the file"), r#"{"mine": 1}"#);
    }
}

#[test]
fn doctor_tells_what_is_here_and_what_to_do() {
    let alone = coverslip(&["doctor", "--bundle", &demo()]);
    let page = text(&alone);
    assert!(alone.status.success(), "{page}");
    for part in ["driver", "TensorRT", "AUTO chooses", "signature", "kernels", "self-check", "slides", "medical"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_narrow(&page);

    // A file that is no library, and a bundle that is none, are told of; the rest of the page is there.
    let decoy = folder("doctor").join("libtensorrt_rtx.so.1");
    std::fs::write(&decoy, "not a library").expect("a decoy");
    let decoy = decoy.display().to_string();
    let page = text(&coverslip(&["doctor", "--tensorrt", &decoy, "--bundle", "/no/such/bundle"]));
    let flat = flat(&page);
    assert!(flat.contains("cannot be loaded") && flat.contains("does not open") && flat.contains("medical"), "{page}");
    assert!(flat.contains("cannot be checked: /no/such/bundle/"), "{page}");

    if let Some(library) = rtx() {
        let page = text(&coverslip(&["doctor", "--tensorrt", &library, "--bundle", &demo()]));
        assert!(page.contains("builds and runs plans") && page.contains(&library), "{page}");
    }
}

/// Nobody writes into the pipe: a loader that opened it would wait for ever.
#[cfg(unix)]
#[test]
fn no_library_may_be_a_pipe() {
    let pipe = folder("doctor").join("pipe.so");
    coverslip_testkit::pipe(&pipe);
    let path = pipe.display().to_string();
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_coverslip"));
    doctor.args(["doctor", "--tensorrt", &path, "--bundle", &demo()]).env("COVERSLIP_OPENSLIDE", &pipe);
    let page = flat(&text(&doctor.output().expect("the command runs")));
    for part in [
        "pipe.so cannot be loaded: it is not a file but a named pipe",
        "expected OpenSlide's library, found: it is not a file but a named pipe",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let page = flat(&text(&coverslip(&["doctor", "--library", &path, "--bundle", &demo()])));
    assert!(page.contains("found a file that cannot be loaded (it is not a file but a named pipe"), "{page}");
}
