//! Every command that writes, with small inputs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use coverslip_files::Claim;
use coverslip_testkit::{Scratch, note};
use coverslip_vit::Choice;

use super::COMMAND;

/// The folders of the trials.
pub(crate) struct Place {
    pub(crate) root: PathBuf,
    pub(crate) inputs: PathBuf,
    /// Below it every command writes.
    pub(crate) out: PathBuf,
    /// The earlier result, from which `out` is restored.
    pub(crate) earlier: PathBuf,
}

/// What is claimed while a command runs.
#[derive(Clone, Copy)]
enum Claimed {
    /// The folder `out/NAME`.
    Within,
    /// The file or folder of this name in `out`.
    Beside(&'static str),
}

/// A command.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The run whose result is there before; none where the command replaces nothing.
    pub(crate) earlier: Vec<String>,
    /// The run that is tried.
    pub(crate) new: Vec<String>,
    /// A second run is refused, because the first succeeded.
    pub(crate) once: bool,
    /// It takes a second or more.
    pub(crate) slow: bool,
    /// A file that the next run makes again from the others. A run that is cut off may leave it out.
    pub(crate) derived: Option<&'static str>,
    claimed: Claimed,
}

impl Case {
    /// Claims what the command writes.
    pub(crate) fn claim(&self, place: &Place) -> Claim {
        match self.claimed {
            Claimed::Within => Claim::within(&place.out.join(self.name)).unwrap(),
            Claimed::Beside(name) => Claim::beside(&place.out.join(name)).unwrap(),
        }
    }
}

impl Place {
    pub(crate) fn new(scratch: &Scratch) -> Place {
        let [inputs, out, earlier] = ["in", "out", "earlier"].map(|name| scratch.join(name));
        fs::create_dir_all(&inputs).unwrap();
        fs::create_dir_all(&out).unwrap();
        let place = Place { root: scratch.path().to_owned(), inputs, out, earlier };
        place.fill();
        place
    }

    /// The file with the calls at which a fault can happen.
    pub(crate) fn list(&self) -> PathBuf {
        self.root.join("calls")
    }

    /// The inputs, made by the commands themselves.
    fn fill(&self) {
        coverslip_testkit::bundle(&self.inputs.join("bundle"));
        for (name, seed) in [("a", 1), ("b", 2)] {
            picture(&self.inputs.join(format!("{name}.png")), seed, 100, 70);
        }
        for slide in 0..8 {
            picture(&self.inputs.join(format!("s{slide}.png")), 10 + slide, 400, 320);
        }
        fs::write(self.inputs.join("labels.json"), r#"[{"index": 3, "label": "lymphocytes", "evidence": "seen"}]"#)
            .unwrap();
        fs::write(self.inputs.join("others.json"), r#"[{"index": 4, "label": "plasma cells", "evidence": "seen"}]"#)
            .unwrap();
        let tile = "--field tile --mpp 0.5 --bundle in/bundle";
        for line in [
            "analyze planted --groups 4 --tiles 3 --side 64 --out in/planted".to_owned(),
            format!("embed in/planted --slide-separator _ --scanner one {tile} --out in/e.safetensors"),
            format!("embed in/planted --slide-separator _ --scanner two {tile} --out in/f.safetensors"),
            "sae train --embeddings in/e.safetensors --tap last --steps 2 --batch 4 --expansion 1 --k 3 --out in/sae".into(),
            "analyze counts --embeddings in/e.safetensors --bundle in/bundle --labels in/planted/counts.csv --group group \
             --tap last --permutations 19 --resamples 100 --out in/counts"
                .into(),
            format!("{PROFILE} --name inputs --out in/profile"),
            "sign keygen --no-password --secret in/site.key --public in/site.pub".into(),
        ] {
            let output = Command::new(COMMAND).args(words(&line)).current_dir(&self.root).output().unwrap();
            // An SAE of two steps is worth nothing, which ends with 3; it is written all the same.
            let done = output.status.success() || line.starts_with("sae train") && output.status.code() == Some(3);
            assert!(done, "{line}: {}", super::text(&output));
        }
    }
}

/// Grains of stain, each darker than the ground, and a rim of glass.
fn picture(path: &Path, seed: u32, width: u32, height: u32) {
    let mut state = seed.wrapping_mul(2_654_435_761).max(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 16) as f32 / 65_536.0
    };
    let depth = 0.9 + 0.2 * next();
    let mut density = vec![0.25_f32; (width * height) as usize];
    for _ in 0..width * height / 58 {
        let (x, y, radius) = (next() * width as f32, next() * height as f32, 1.5 + 3.0 * next());
        for py in (y - radius).max(0.0) as u32..((y + radius) as u32 + 1).min(height) {
            for px in (x - radius).max(0.0) as u32..((x + radius) as u32 + 1).min(width) {
                if (px as f32 - x).hypot(py as f32 - y) < radius {
                    density[(py * width + px) as usize] = 0.8;
                }
            }
        }
    }
    let picture = image::RgbImage::from_fn(width, height, |x, y| {
        let stain = if x < 20 { 0.0 } else { depth * density[(y * width + x) as usize] };
        let noise = 6.0 * next();
        image::Rgb([0.9, 1.4, 0.7].map(|part| (242.0 * 10_f32.powf(-stain * part) - noise).clamp(0.0, 255.0) as u8))
    });
    picture.save(path).unwrap();
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// A command whose two runs differ in the words behind it.
fn case(name: &'static str, claimed: Claimed, line: &str, earlier: &str, new: &str) -> Case {
    let run = |more: &str| words(&format!("{line} {more}"));
    Case { name, earlier: run(earlier), new: run(new), once: false, slow: false, derived: None, claimed }
}

pub(crate) fn cases(place: &Place) -> Vec<Case> {
    let mut all = playing();
    all.extend(bundles());
    all.extend(profiles());
    all.extend(analyses());
    all.extend(signatures());
    all.push(install());
    all.extend(quantise());
    all.push(tune());
    all.extend(plan(place));
    all
}

/// Commands without a case, and why.
pub(crate) const WITHOUT: [(&str, &str); 10] = [
    ("bundle inspect", "it writes nothing"),
    ("bundle verify", "it writes nothing"),
    ("doctor", "it writes nothing"),
    ("engine inspect", "it writes nothing"),
    ("openslide-reader", "it writes nothing"),
    ("profile compare", "it writes nothing"),
    ("profile inspect", "it writes nothing"),
    ("profile verify", "it writes nothing"),
    ("sign verify", "it writes nothing"),
    ("validate host", "the faulty disk would be the host's too, which is somebody else's program"),
];

/// Commands that have a case on some machines only, and which.
pub(crate) const SOMEWHERE: [(&str, &str); 2] = [
    ("bundle quantise", "those whose processor has products of int8"),
    ("engine build", "those on which COVERSLIP_TENSORRT_RTX names a TensorRT-RTX library"),
];

/// Commands that play slides.
fn playing() -> Vec<Case> {
    let embed = "embed --bundle in/bundle --mpp 0.5 --force";
    let embed = |name, out: &'static str| {
        case(name, Claimed::Beside(out), &format!("{embed} --out out/{out}"), "in/a.png", "in/b.png")
    };
    vec![
        case("scan", Claimed::Within, "scan --bundle in/bundle --mpp 0.5 --out out/scan", "in/a.png", "in/b.png"),
        embed("embed", "e.safetensors"),
        embed("embed into Parquet", "e.parquet"),
    ]
}

const PROFILE: &str = "profile build --bundle in/bundle --mpp 0.5 --single --skip-unstable --tiles-per-slide 30 --force \
                       --scanner A=in/s0.png in/s1.png in/s2.png in/s3.png in/s4.png in/s5.png";

fn profiles() -> Vec<Case> {
    let challenge = "profile challenge --bundle in/bundle --mpp 0.5 --profile in/profile --scanner A --tiles-per-slide 30 \
                     --fault gaussian --out out/challenge";
    let build = format!("{PROFILE} --out out/profile --name");
    let mut all = vec![
        case("profile build", Claimed::Beside("profile"), &build, "one", "two"),
        case("challenge", Claimed::Within, challenge, "in/s6.png", "in/s7.png"),
    ];
    all.iter_mut().for_each(|case| case.slow = true);
    all
}

fn bundles() -> Vec<Case> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/import/tests/golden/onnx/vit_dynamic");
    let golden = golden.canonicalize().unwrap();
    let golden = golden.display();
    let build = format!(
        "bundle build --weights {golden}/model.onnx --model {golden}/model.json --tiles {golden}/golden.safetensors \
         --licence MIT --source tests --mpp 0.5 --out out/built --force"
    );
    vec![
        case("bundle build", Claimed::Beside("built"), &build, "--name one", "--name two"),
        Case {
            earlier: Vec::new(),
            once: true,
            ..case("bundle synthetic", Claimed::Beside("made"), "bundle synthetic --out out/made", "", "")
        },
        case(
            "bundle label",
            Claimed::Beside("labelled"),
            "bundle label in/bundle --out out/labelled --force --labels",
            "in/labels.json",
            "in/others.json",
        ),
        case(
            "bundle export-onnx",
            Claimed::Beside("m.onnx"),
            "bundle export-onnx in/bundle --out out/m.onnx",
            "",
            "--precision fp16",
        ),
        case(
            "bundle run",
            Claimed::Beside("o.safetensors"),
            "bundle run in/bundle --out out/o.safetensors --tiles",
            "in/a.png",
            "in/b.png",
        ),
    ]
}

fn analyses() -> Vec<Case> {
    let labels = "--labels in/planted/counts.csv --group group --permutations 19 --resamples 100 --tap last";
    let compared = labels.replace("--tap last", "--tap-a last --tap-b last");
    let within = |name: &'static str, line: &str, earlier: &str, new: &str| {
        case(name, Claimed::Within, &format!("{line} --out out/{name}"), earlier, new)
    };
    let mut all = vec![
        within(
            "counts",
            &format!("analyze counts --embeddings in/e.safetensors --bundle in/bundle {labels}"),
            "--seed 1",
            "--seed 2",
        ),
        within(
            "compare",
            &format!("analyze compare in/e.safetensors in/f.safetensors {compared}"),
            "--names a,b",
            "--names c,d",
        ),
        within(
            "depth",
            &format!(
                "analyze depth --bundle in/bundle --embeddings in/e.safetensors {}",
                labels.replace("--tap last", "")
            ),
            "--dataset here",
            "--dataset there",
        ),
        within(
            "transfer",
            &format!(
                "analyze transfer --embeddings in/e.safetensors --to in/f.safetensors --to-labels \
                 in/planted/counts.csv {labels}"
            ),
            "--dataset here",
            "--dataset there",
        ),
        within("features", "analyze features --embeddings in/e.safetensors --bundle in/bundle", "--top 2", "--top 3"),
        within(
            "scanners",
            "analyze scanners in/e.safetensors in/f.safetensors --bootstraps 5 --folds 2 --k 2",
            "--seed 1",
            "--seed 2",
        ),
        within(
            "sae-train",
            "sae train --embeddings in/e.safetensors --tap last --held-out 0 --steps 300 --batch 4 --checkpoint-every 150 --expansion 1 \
             --k 3 --restart",
            "--seed 1",
            "--seed 2",
        ),
        case(
            "sae-eval",
            Claimed::Within,
            "sae eval in/sae --tap last --out out/sae-eval --embeddings",
            "in/e.safetensors",
            "in/f.safetensors",
        ),
        case("report", Claimed::Beside("r.html"), "report in/counts --out out/r.html --title", "One", "Two"),
    ];
    all.push(Case {
        earlier: Vec::new(),
        once: true,
        ..case(
            "planted",
            Claimed::Beside("planted"),
            "analyze planted --groups 2 --tiles 1 --side 64 --out out/planted",
            "",
            "",
        )
    });
    all
}

fn signatures() -> Vec<Case> {
    let labelled = "bundle label in/bundle --force --labels in/labels.json --out out/signed";
    let profile = format!("{PROFILE} --name signed --out out/signed-profile");
    // An older signature is replaced; without one there is nothing between unsigned and signed.
    let signed = |name, out: &'static str, earlier: &str, line: &str| Case {
        earlier: words(earlier),
        ..case(name, Claimed::Beside(out), &format!("{line} out/{out} --secret in/site.key"), "", "")
    };
    let keys = "sign keygen --no-password --secret out/site.key --public out/site.pub";
    vec![
        Case {
            earlier: Vec::new(),
            once: true,
            derived: Some("site.pub"),
            ..case("sign keygen", Claimed::Beside("site.key"), keys, "", "")
        },
        signed("sign bundle", "signed", labelled, "sign bundle"),
        Case { slow: true, ..signed("sign profile", "signed-profile", &profile, "sign profile") },
    ]
}

/// Every second slide judges.
fn quantise() -> Option<Case> {
    if Choice::int8().is_none() {
        note("bundle quantise is left out: this processor has no products of int8");
        return None;
    }
    let line = "bundle quantise in/bundle --out out/int8 --force --tiles in/s0.png in/s1.png in/s2.png";
    Some(Case { slow: true, ..case("bundle quantise", Claimed::Beside("int8"), line, "in/s3.png", "in/s4.png") })
}

/// What is quickest differs from run to run.
fn tune() -> Case {
    let line = "engine tune --bundle in/bundle --out out/k.tuning";
    Case { earlier: Vec::new(), slow: true, ..case("engine tune", Claimed::Beside("k.tuning"), line, "", "") }
}

/// The library of this build, and another one in its place before.
fn install() -> Case {
    let library = coverslip_testkit::library();
    let line = format!("install --prefix out/install --library {}", library.display());
    Case { slow: true, ..case("install", Claimed::Within, &line, "", "--bundle in/bundle") }
}

/// A plan needs TensorRT-RTX, not a GPU.
fn plan(place: &Place) -> Option<Case> {
    let Some(library) = std::env::var("COVERSLIP_TENSORRT_RTX").ok().filter(|path| !path.is_empty()) else {
        note("engine build is left out: COVERSLIP_TENSORRT_RTX does not name a TensorRT-RTX library");
        return None;
    };
    let bundle = place.inputs.join("bundle").display().to_string();
    let line = format!("engine build --bundle {bundle} --library {library} --target sm86 --out out/p.plan --max-batch");
    Some(Case { slow: true, ..case("engine build", Claimed::Beside("p.plan"), &line, "4", "8") })
}
