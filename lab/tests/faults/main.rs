//! Every command that writes, on a disk with faults: full, sealed, with errors of reading and writing, and with a kill at
//! every step. After each fault the earlier result is whole or the new one is; a command that fails says so in one
//! sentence; and the next run succeeds and leaves nothing behind.
//!
//! `disk.c` makes the faults. In `cargo test` a few points of each command are tried; with `--ignored` every point that
//! differs from its neighbours: of calls that follow each other on one file the first and the last.
#![cfg(target_os = "linux")]

mod cases;
mod tree;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cases::{Case, Place, SOMEWHERE, WITHOUT, cases};
use coverslip_testkit::{Scratch, note};
use tree::Tree;

const COMMAND: &str = env!("CARGO_BIN_EXE_coverslip");

/// The kinds of faults, and how many points of a command are tried in `cargo test`.
const KINDS: [(&str, usize); 5] = [("full", 2), ("error", 2), ("kill", 4), ("sealed", 1), ("read", 1)];

/// The faulty disk as a library to preload.
fn disk(scratch: &Scratch) -> PathBuf {
    let library = scratch.join("disk.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/disk.c");
    let mut compiler = coverslip_testkit::cc();
    compiler.arg("-shared").arg("-fPIC").arg("-O1").arg("-o").arg(&library).arg(source).arg("-ldl");
    coverslip_testkit::run(&mut compiler);
    library
}

/// A command with its faulty disk.
struct Trial<'t> {
    case: &'t Case,
    place: &'t Place,
    disk: &'t Path,
    /// What a run that succeeded left before.
    earlier: Tree,
    /// What the run that is tried leaves.
    new: Tree,
}

impl Trial<'_> {
    fn run(&self, fault: Option<(&str, Option<u64>)>) -> Output {
        let mut command = Command::new(COMMAND);
        command.args(&self.case.new).current_dir(&self.place.root);
        if let Some((kind, at)) = fault {
            let root = if kind == "read" { &self.place.inputs } else { &self.place.out };
            command.env("LD_PRELOAD", self.disk).env("FAULT_KIND", kind).env("FAULT_ROOT", root);
            command.env("FAULT_LIST", self.place.list());
            if let Some(at) = at {
                command.env("FAULT_AT", at.to_string());
            }
        }
        command.output().expect("the command runs")
    }

    /// The calls of the whole run at which this kind of fault can happen, in their order: their names, and their files
    /// without the numbers that differ from run to run.
    fn points(&self, kind: &str) -> Vec<String> {
        self.earlier.restore(&self.place.out);
        let output = self.run(Some((kind, None)));
        assert!(output.status.success(), "{}: {}", self.case.name, text(&output));
        let list = std::fs::read_to_string(self.place.list()).unwrap();
        let numbered = list.lines().map(|line| line.split_once(' ').unwrap());
        let mut points: Vec<(u64, String)> = numbered
            .map(|(number, call)| (number.parse().unwrap(), call.replace(|c: char| c.is_ascii_digit(), "")))
            .collect();
        points.sort();
        assert!(points.iter().zip(0..).all(|((number, _), place)| *number == place), "every call is listed once");
        points.into_iter().map(|(_, call)| call).collect()
    }

    /// Lets the fault happen at the call `at`, and checks what is there then and after the next run.
    fn at(&self, kind: &str, at: u64) {
        let name = format!("{}: {kind} at call {at}", self.case.name);
        self.earlier.restore(&self.place.out);
        let output = self.run(Some((kind, Some(at))));
        let said = text(&output);
        let there = Tree::of(&self.place.out);
        let whole = there.is_whole(&self.earlier, &self.new);
        let goes_on =
            there.has_a_journal() || self.case.derived.is_some_and(|derived| there.lacks_only(derived, &self.new));
        match output.status.code() {
            // Nothing is whole for sure between the first and the last of several renames; the next run finishes them.
            None => assert!(whole.is_ok() || goes_on, "{name}: {whole:?}\n{said}"),
            Some(0) => assert_eq!(whole, Ok(true), "{name}: it succeeded\n{said}"),
            Some(1) => {
                assert!(whole.is_ok() || goes_on, "{name}: {whole:?}\n{said}");
                let sentences = said.lines().filter(|line| line.starts_with("coverslip: ")).count();
                assert!(sentences == 1 && !said.contains("panicked"), "{name}: {said}");
            }
            other => panic!("{name}: ended with {other:?}\n{said}"),
        }
        // Where nothing was touched the next run is the one that has succeeded from here before.
        if self.case.once && whole == Ok(true) || there.is_the_same(&self.earlier) {
            return;
        }
        let again = self.run(None);
        assert!(again.status.success(), "{name}: the next run failed\n{said}{}", text(&again));
        let there = Tree::of(&self.place.out);
        assert_eq!(there.is_whole(&self.earlier, &self.new), Ok(true), "{name}: after the next run");
        assert_eq!(there.hidden(), Vec::<String>::new(), "{name}: left behind after the next run");
    }
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

/// At most `most` of the numbers below `count`, the first and the last among them.
fn spread(count: u64, most: usize) -> Vec<u64> {
    let most = (most as u64).min(count);
    let mut points: Vec<u64> = (0..most).map(|i| if most == 1 { 0 } else { i * (count - 1) / (most - 1) }).collect();
    points.dedup();
    points
}

/// The first and the last of each stretch of equal calls.
fn differing(calls: &[String]) -> Vec<u64> {
    let at = |place: usize| calls.get(place);
    let edge = |place: &usize| *place == 0 || at(*place) != at(*place - 1) || at(*place) != at(*place + 1);
    (0..calls.len()).filter(edge).map(|place| place as u64).collect()
}

/// A case, after the run whose result is there before, and the run that is tried has shown what it leaves.
fn trial<'t>(case: &'t Case, place: &'t Place, disk: &'t Path) -> Trial<'t> {
    let _ = std::fs::remove_dir_all(&place.out);
    std::fs::create_dir_all(&place.out).unwrap();
    let run = |arguments: &[String]| {
        let output = Command::new(COMMAND).args(arguments).current_dir(&place.root).output().unwrap();
        assert!(output.status.success(), "{}: {}", case.name, text(&output));
        Tree::of(&place.out)
    };
    let earlier = if case.earlier.is_empty() { Tree::of(&place.out) } else { run(&case.earlier) };
    let earlier = earlier.kept(&place.earlier);
    let new = run(&case.new);
    assert_ne!(new.changed(&earlier), 0, "{}: the two runs differ", case.name);
    Trial { case, place, disk, earlier, new }
}

/// Tries every command; `all`: at every point that differs from its neighbours.
fn try_commands(name: &str, all: bool) {
    let scratch = Scratch::new(name);
    let disk = disk(&scratch);
    let place = Place::new(&scratch);
    for case in cases(&place) {
        if !all && case.slow {
            note(&format!("{}: tried at few points here, at all of them with --ignored", case.name));
        }
        let trial = trial(&case, &place, &disk);
        let (mut tried, mut known) = (0, 0);
        for (kind, few) in KINDS {
            let few = if case.slow { few.div_ceil(3) } else { few };
            let calls = if kind == "sealed" { vec![String::new()] } else { trial.points(kind) };
            known += calls.len();
            // Some commands read no file.
            for at in if all { differing(&calls) } else { spread(calls.len() as u64, few) } {
                trial.at(kind, at);
                tried += 1;
            }
        }
        note(&format!("{}: {tried} faults at {known} points", case.name));
    }
}

#[test]
fn no_fault_of_the_disk_leaves_half_a_result() {
    try_commands("faults", false);
}

#[test]
#[ignore = "every point of every command: .ci/nightly disk"]
fn no_fault_at_any_point_leaves_half_a_result() {
    try_commands("all-faults", true);
}

/// The calls that give a result its name: an exchange of folders, the second name of a secret key. Their digits are left out.
#[test]
fn a_name_that_is_not_given_leaves_the_earlier_result() {
    let scratch = Scratch::new("names");
    let disk = disk(&scratch);
    let place = Place::new(&scratch);
    for (name, call) in [("bundle label", "renameat "), ("sign keygen", "linkat "), ("sign keygen", "rename ")] {
        let case = cases(&place).into_iter().find(|case| case.name == name).unwrap();
        let trial = trial(&case, &place, &disk);
        for kind in ["error", "kill"] {
            let points = trial.points(kind);
            let at: Vec<u64> =
                (0..).zip(&points).filter(|(_, point)| point.starts_with(call)).map(|(at, _)| at).collect();
            assert!(!at.is_empty(), "{name} makes no call of {call}: {points:?}");
            at.into_iter().for_each(|at| trial.at(kind, at));
        }
    }
}

/// A command that is added later gets a case, or says why it has none.
#[test]
fn every_command_has_a_case_or_a_reason() {
    let mut commands = BTreeSet::new();
    leaves(&coverslip_lab::cli::command(), "", &mut commands);
    let scratch = Scratch::new("commands");
    let place = Place::new(&scratch);
    let cases = cases(&place);
    // The command of a case is the longest that its words begin with.
    let tried = cases.iter().map(|case| {
        let line = case.new.join(" ");
        let found = commands
            .iter()
            .filter(|command| line.starts_with(&format!("{command} ")))
            .max_by_key(|command| command.len());
        found.unwrap_or_else(|| panic!("{line}: no such command")).clone()
    });
    let tried: BTreeSet<String> = tried.collect();
    for (command, why) in WITHOUT.into_iter().chain(SOMEWHERE) {
        assert!(commands.contains(command), "{command} ({why}): no such command");
    }
    let stated = |command: &&String| WITHOUT.iter().chain(&SOMEWHERE).any(|(known, _)| known == command);
    let missing: Vec<&String> = commands.difference(&tried).filter(|command| !stated(command)).collect();
    assert!(missing.is_empty(), "neither a case nor a reason: {missing:?}");
    let both: Vec<&str> =
        WITHOUT.iter().map(|(command, _)| *command).filter(|command| tried.contains(*command)).collect();
    assert!(both.is_empty(), "a case, and a reason for none: {both:?}");
}

/// The commands that have none below them.
fn leaves(command: &clap::Command, above: &str, found: &mut BTreeSet<String>) {
    let below: Vec<&clap::Command> = command.get_subcommands().filter(|command| command.get_name() != "help").collect();
    if below.is_empty() {
        found.insert(above.to_owned());
    }
    for command in below {
        leaves(command, format!("{above} {}", command.get_name()).trim_start(), found);
    }
}

#[test]
fn of_equal_calls_the_first_and_the_last_are_tried() {
    let calls = ["open a", "write a", "write a", "write a", "write b", "fsync b", "fsync b"].map(str::to_owned);
    assert_eq!(differing(&calls), [0, 1, 3, 4, 5, 6]);
    assert!(differing(&[]).is_empty());
}

/// The system sends a signal as well, which would end the process without a word.
#[test]
fn a_limit_on_the_length_of_files_is_said_in_a_sentence() {
    let scratch = Scratch::new("limit");
    let out = scratch.join("bundle");
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -f 1 && exec \"$0\" \"$@\"", COMMAND, "bundle", "synthetic", "--out"]).arg(&out);
    let refused = shell.output().expect("a shell");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(text(&refused).contains("File too large"), "{}", text(&refused));
    assert_eq!(std::fs::read_dir(scratch.path()).expect("the folder").count(), 0, "nothing is left");
}

/// A result is whole whether or not somebody listens.
#[test]
fn a_full_screen_is_named_and_the_result_is_there() {
    let scratch = Scratch::new("screen");
    let out = scratch.join("bundle");
    let full = std::fs::File::options().write(true).open("/dev/full").expect("a full device");
    let mut command = Command::new(COMMAND);
    command.args(["bundle", "synthetic", "--out"]).arg(&out).stdout(full);
    let output = command.output().expect("the command runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let expected = "standard output: could not be written: No space left on device";
    assert!(text(&output).contains(expected), "{}", text(&output));
    assert!(text(&output).contains("Files that were complete before are in their place"), "{}", text(&output));
    assert!(out.join("manifest.json").is_file());
}

/// Two commands that write to one place at once: the second is refused, and told who has it.
#[test]
fn the_second_command_at_a_place_is_refused() {
    let scratch = Scratch::new("owners");
    let place = Place::new(&scratch);
    for case in cases(&place) {
        let _ = std::fs::remove_dir_all(&place.out);
        std::fs::create_dir_all(&place.out).unwrap();
        // A folder is signed where it lies.
        if case.name.starts_with("sign ") && !case.earlier.is_empty() {
            let output = Command::new(COMMAND).args(&case.earlier).current_dir(&place.root).output().unwrap();
            assert!(output.status.success(), "{}: {}", case.name, text(&output));
        }
        let claim = case.claim(&place);
        let output = Command::new(COMMAND).args(&case.new).current_dir(&place.root).output().unwrap();
        let said = text(&output);
        assert_eq!(output.status.code(), Some(1), "{}: {said}", case.name);
        let owner = format!("process {} on ", std::process::id());
        assert!(said.contains(&owner) && said.contains("writes here"), "{}: {said}", case.name);
        drop(claim);
    }
}

/// A link under the name of an earlier version's draft, and of the outputs themselves.
#[test]
fn no_link_is_followed_out_of_the_folder() {
    let scratch = Scratch::new("links");
    let place = Place::new(&scratch);
    let case = cases(&place).into_iter().find(|case| case.name == "scan").unwrap();
    let precious = scratch.join("precious");
    std::fs::write(&precious, "precious").unwrap();
    let out = place.out.join("scan");
    std::fs::create_dir_all(&out).unwrap();
    for name in [".slide.json.partial", "slide.json", "tiles.parquet"] {
        std::os::unix::fs::symlink(&precious, out.join(name)).unwrap();
    }
    let output = Command::new(COMMAND).args(&case.new).current_dir(&place.root).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious");
    assert!(std::fs::symlink_metadata(out.join("slide.json")).unwrap().is_file());
}
