//! One owner of each output: a command claims it before the work begins, and tells the user what it found there. What is
//! there already is replaced only where the command writes such files, and never where it reads them.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use coverslip_files::Claim;

use crate::term::plain;

/// Bytes by which a kind of file is told.
const HEAD: u64 = 64;
/// Longest header of a safetensors file, bytes, as its format says.
const MOST_HEADER: u64 = 100_000_000;

/// A kind of file that a command writes, told by its first bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    name: &'static str,
    begins: fn(&[u8]) -> bool,
}

/// A page of `coverslip report`.
pub(crate) const PAGE: Kind = Kind {
    name: "an HTML page",
    begins: |head| head.get(..14).is_some_and(|mark| mark.eq_ignore_ascii_case(b"<!doctype html")),
};
/// A file of `coverslip engine tune`.
pub(crate) const TUNING: Kind =
    Kind { name: "a file of `coverslip engine tune`", begins: |head| head.starts_with(b"coverslip cpu tuning ") };
/// A file of `coverslip validate host --json`.
pub(crate) const VERDICT: Kind = Kind { name: "a verdict in JSON", begins: |head| head.starts_with(b"{") };
/// A file of `coverslip engine build`.
pub(crate) const PLAN: Kind = Kind { name: "a GPU plan", begins: |head| head.starts_with(b"coverslip.plan/") };
/// Tensors: the length of a header, and the header in JSON.
pub(crate) const SAFETENSORS: Kind = Kind {
    name: "a safetensors file",
    begins: |head| match head.split_first_chunk() {
        Some((length, header)) => u64::from_le_bytes(*length) <= MOST_HEADER && header.starts_with(b"{"),
        None => false,
    },
};
/// A graph: the field of its format's version, which every writer puts first.
pub(crate) const ONNX: Kind =
    Kind { name: "an ONNX file", begins: |head| matches!(head, [0x08, 1..=0x1f, 1..=0xff, ..]) };

/// Claims the files of the folder `--out`.
///
/// # Errors
/// Where another command writes there, or the folder cannot be made.
pub(crate) fn within(folder: &Path) -> io::Result<Claim> {
    Claim::within(folder).map(told)
}

/// Claims the files of the folder `--out`, which is none of the folders that the command reads: the next run would take
/// what this one writes for an input.
///
/// # Errors
/// As [`within`]; where `folder` is one of `inputs`.
pub(crate) fn apart<'p>(folder: &Path, inputs: impl IntoIterator<Item = &'p PathBuf>) -> io::Result<Claim> {
    let place = identity(folder);
    let same = |input: &&PathBuf| place.is_some() && identity(input) == place;
    match inputs.into_iter().find(same) {
        Some(input) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "--out {}: expected another folder than the input, found {}, which would be read with the outputs in it the \
                 next time; give a folder of its own",
                folder.display(),
                input.display()
            ),
        )),
        None => within(folder),
    }
}

/// Claims the file `out`, which will be of this kind and replaces no other. `inputs` is what the command reads; a folder
/// there stands for every file in it.
///
/// # Errors
/// As [`within`]; where `out` is one of the inputs, or something else than a file of this kind is there.
pub(crate) fn output(out: &Path, kind: Kind, inputs: impl IntoIterator<Item = impl AsRef<Path>>) -> io::Result<Claim> {
    expect_unread(out, inputs)?;
    let claim = beside(out)?;
    expect_kind(out, kind)?;
    Ok(claim)
}

/// Refuses to write over a file that the command reads, by whatever name it is given.
///
/// # Errors
/// Where `out` is one of `inputs`, or a file in a folder among them.
pub(crate) fn expect_unread(out: &Path, inputs: impl IntoIterator<Item = impl AsRef<Path>>) -> io::Result<()> {
    let Some(there) = identity(out) else { return Ok(()) };
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = identity(parent);
    for input in inputs {
        let input = input.as_ref();
        let known = identity(input);
        if known.as_ref() == Some(&there) || (known.is_some() && known == folder && input.is_dir()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "{}: expected another file than those that the command reads, found what it reads as {}; give another name",
                    out.display(),
                    input.display()
                ),
            ));
        }
    }
    Ok(())
}

/// What a path leads to, by whatever name.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path) -> Option<PathBuf> {
    fs::canonicalize(path).ok()
}

/// Refuses to replace what is not of this kind. An empty file is nothing that would be lost, and of a link only the name is
/// replaced.
///
/// # Errors
/// Where something else than a file of this kind is at `out`.
pub(crate) fn expect_kind(out: &Path, kind: Kind) -> io::Result<()> {
    let there = fs::symlink_metadata(out).is_ok_and(|found| !found.file_type().is_symlink());
    if !there {
        return Ok(());
    }
    let mut head = Vec::new();
    let found = match coverslip_files::open(out).and_then(|file| file.take(HEAD).read_to_end(&mut head)) {
        Ok(0) => return Ok(()),
        Ok(_) if (kind.begins)(&head) => return Ok(()),
        Ok(_) => "a file of another kind".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(io::Error::new(
        io::ErrorKind::AlreadyExists,
        format!(
            "{}: expected no file, or {} to be replaced, found: {found}. Give another name",
            out.display(),
            kind.name
        ),
    ))
}

/// Claims the file, or the folder that is written as a whole.
///
/// # Errors
/// As [`within`].
pub(crate) fn beside(out: &Path) -> io::Result<Claim> {
    Claim::beside(out).map(told)
}

fn told(mut claim: Claim) -> Claim {
    said(&claim.notes());
    claim
}

/// Says what earlier runs left. The result goes to stdout, so this does not.
pub(crate) fn said(notes: &[String]) {
    for note in notes {
        // Nothing is left to do if stderr is gone.
        let _ = writeln!(io::stderr(), "{}", plain(note));
    }
}

#[cfg(test)]
mod tests {
    use coverslip_testkit::Scratch;

    use super::*;

    const NONE: [&Path; 0] = [];

    #[test]
    fn only_a_file_of_the_commands_own_kind_is_replaced() {
        let scratch = Scratch::new("claim-kind");
        let out = scratch.join("out");
        let own = [
            (PAGE, &b"<!DOCTYPE html>\n<html lang=\"en\">"[..]),
            (TUNING, b"coverslip cpu tuning 1\n"),
            (PLAN, b"coverslip.plan/1\n"),
            (SAFETENSORS, b"\x08\0\0\0\0\0\0\0{      }"),
            (ONNX, b"\x08\x0a\x12\x09coverslip"),
        ];
        for (kind, _) in own {
            drop(output(&out, kind, NONE).unwrap());
            for (other, content) in own {
                fs::write(&out, content).unwrap();
                assert_eq!(
                    output(&out, kind, NONE).is_ok(),
                    other.name == kind.name,
                    "{} by {}",
                    other.name,
                    kind.name
                );
            }
            for content in [&b"\x89PNG\r\n\x1a\n, and so on"[..], b"{ \"mine\": 1 }", b"PAR1", b"<"] {
                fs::write(&out, content).unwrap();
                let refused = output(&out, kind, NONE).unwrap_err().to_string();
                assert!(refused.contains(kind.name) && refused.ends_with("Give another name"), "{refused}");
                assert_eq!(fs::read(&out).unwrap(), content);
            }
            fs::write(&out, "").unwrap();
            drop(output(&out, kind, NONE).unwrap());
            fs::remove_file(&out).unwrap();
        }
        fs::create_dir(&out).unwrap();
        let refused = output(&out, PAGE, NONE).unwrap_err().to_string();
        assert!(refused.contains("it is not a file but a folder"), "{refused}");
    }

    #[test]
    fn no_file_that_the_command_reads_is_written_over() {
        let scratch = Scratch::new("claim-inputs");
        let (input, other) = (scratch.join("page.html"), scratch.join("other.html"));
        fs::write(&input, "<!doctype html>").unwrap();
        fs::write(&other, "<!doctype html>").unwrap();
        let another_way = scratch.join("..").join(scratch.path().file_name().unwrap()).join("page.html");
        for out in [&input, &another_way] {
            let refused = output(out, PAGE, [&other, &input]).unwrap_err().to_string();
            let names = [out, &input].map(|path| path.display().to_string());
            assert!(names.iter().all(|name| refused.contains(name)), "{refused}");
        }
        #[cfg(unix)]
        {
            let link = scratch.join("link.html");
            std::os::unix::fs::symlink(&input, &link).unwrap();
            assert!(output(&link, PAGE, [&input]).is_err() && output(&input, PAGE, [&link]).is_err());
        }
        drop(output(&input, PAGE, [&other]).unwrap());
        // A folder that is read stands for the files in it, and not for those that are not there yet.
        assert!(output(&input, PAGE, [scratch.path()]).is_err());
        drop(output(&scratch.join("new.html"), PAGE, [scratch.path()]).unwrap());
    }
}
