//! `coverslip sign` beside minisign itself: each verifies what the other signs, and reads the other's keys.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use coverslip_testkit::{Fixture, Scratch, note, run, stdout};

fn coverslip() -> Command {
    Command::new(env!("CARGO_BIN_EXE_coverslip"))
}

/// Runs a command that must fail with exit code 1 and one sentence that has all `parts`.
#[track_caller]
fn refused(command: &mut Command, parts: &[&str]) {
    let Output { status, stderr, .. } = command.stdin(Stdio::null()).output().expect("it starts");
    let text = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(1), "{text}");
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

fn keygen(secret: &Path, public: &Path) -> String {
    let mut command = coverslip();
    command.args(["sign", "keygen", "--no-password", "--secret"]).arg(secret).arg("--public").arg(public);
    stdout(&mut command).lines().nth(1).expect("the public key").to_owned()
}

fn sign(folder: &Path, secret: &Path) -> Command {
    let mut command = coverslip();
    command.args(["sign", "bundle"]).arg(folder).arg("--secret").arg(secret);
    command
}

fn verify(folder: &Path, key: &str) -> Command {
    let mut command = coverslip();
    command.args(["sign", "verify"]).arg(folder).args(["--trusted-key", key]);
    command
}

#[test]
fn a_bundle_is_signed_verified_and_shown() {
    let (fixture, folder) = (Fixture::new(), Scratch::new("sign"));
    let (secret, public) = (folder.join("site.key"), folder.join("site.pub"));
    let key = keygen(&secret, &public);
    refused(&mut verify(&fixture.dir(), &key), &["is not signed"]);
    let said = stdout(sign(&fixture.dir(), &secret).args(["--comment", "for scanner 3"]));
    let digest = fixture.open().unwrap().digest().to_string();
    assert!(said.contains(&digest) && said.contains(", for scanner 3"), "{said}");

    let said = stdout(&mut verify(&fixture.dir(), public.to_str().unwrap()));
    assert!(said.contains("signed by the key") && said.contains("for scanner 3"), "{said}");
    let inspect = |more: &[&str]| {
        let page = stdout(coverslip().args(["bundle", "inspect"]).arg(fixture.dir()).args(more));
        page.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(inspect(&[]).contains("signature NOT CHECKED"), "a comment that nobody checked is no fact");
    assert!(inspect(&["--trusted-key", &key]).contains("signature by the trusted key"));

    let other = keygen(&folder.join("other.key"), &folder.join("other.pub"));
    refused(&mut verify(&fixture.dir(), &other), &["by the key", "trusted is"]);
    refused(&mut verify(&fixture.dir(), "nonsense"), &["expected a public key of minisign", "no file of this name"]);
    // What is there and is no file is not "no file of this name".
    let there = folder.path().to_str().unwrap();
    refused(&mut verify(&fixture.dir(), there), &["expected a public key or the file of one", "it is not a file but"]);
    // One key where the other belongs, and half of one.
    refused(&mut sign(&fixture.dir(), &public), &["site.pub: expected a secret key", "found a public key; give"]);
    let half: String = fs::read_to_string(&secret).unwrap().chars().take(100).collect();
    fs::write(folder.join("half.key"), half).unwrap();
    refused(&mut sign(&fixture.dir(), &folder.join("half.key")), &["half.key: expected a secret key", "; give"]);
    fixture.edit(|m| m["name"] = serde_json::json!("another"));
    refused(&mut verify(&fixture.dir(), &key), &["was changed after it was signed"]);
    // Whoever signs is told first what a host would be told.
    fs::write(fixture.dir().join("extra.bin"), "x").unwrap();
    refused(&mut sign(&fixture.dir(), &secret), &["extra.bin", "not listed"]);
}

#[test]
fn keys_are_private_and_never_replaced() {
    let folder = Scratch::new("keys");
    let (secret, public) = (folder.join("a.key"), folder.join("a.pub"));
    keygen(&secret, &public);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let again = |secret: &Path, public: &Path| {
        let mut command = coverslip();
        command.args(["sign", "keygen", "--no-password", "--secret"]).arg(secret).arg("--public").arg(public);
        command
    };
    refused(&mut again(&secret, &public), &["a.pub exists"]);
    refused(&mut again(&folder.join("b.key"), &public), &["a.pub exists"]);
    assert!(!folder.join("b.key").exists(), "no half of a pair");
    fs::write(&secret, "untrusted comment: x\nRWQAAEIyAAAA\n").unwrap();
    refused(&mut sign(&Fixture::new().dir(), &secret), &["a.key: "]);
}

/// A run that was cut off leaves the secret key alone.
#[test]
fn a_secret_key_without_its_public_one_gets_it() {
    let folder = Scratch::new("keys-again");
    let (secret, public, password) = (folder.join("a.key"), folder.join("a.pub"), folder.join("password"));
    let key = keygen(&secret, &public);
    let before = [&secret, &public].map(|path| fs::read(path).unwrap());
    fs::remove_file(&public).unwrap();
    assert_eq!(keygen(&secret, &public), key);
    assert_eq!([&secret, &public].map(|path| fs::read(path).unwrap()), before);

    fs::write(&password, "right\n").unwrap();
    let (secret, public) = (folder.join("b.key"), folder.join("b.pub"));
    let with = |password: &Path| {
        let mut command = coverslip();
        command.args(["sign", "keygen", "--secret"]).arg(&secret).arg("--public").arg(&public);
        command.arg("--password-file").arg(password);
        command
    };
    run(&mut with(&password));
    let before = [&secret, &public].map(|path| fs::read(path).unwrap());
    fs::remove_file(&public).unwrap();
    let wrong = folder.join("wrong");
    fs::write(&wrong, "wrong\n").unwrap();
    refused(&mut with(&wrong), &["b.key: "]);
    let mut without = coverslip();
    without.args(["sign", "keygen", "--no-password", "--secret"]).arg(&secret).arg("--public").arg(&public);
    refused(&mut without, &["b.key: the secret key is protected by a password"]);
    assert!(!public.exists());
    let said = stdout(&mut with(&password));
    assert!(said.contains("b.key, which was there"), "{said}");
    assert_eq!([&secret, &public].map(|path| fs::read(path).unwrap()), before);
}

#[test]
fn one_command_at_a_time_signs_or_replaces_a_folder() {
    let (fixture, folder) = (Fixture::new(), Scratch::new("sign-claim"));
    let (secret, public) = (folder.join("a.key"), folder.join("a.pub"));
    keygen(&secret, &public);
    let owner = format!("process {} on ", std::process::id());
    let claim = coverslip_files::Claim::beside(&fixture.dir().canonicalize().unwrap()).unwrap();
    refused(&mut sign(&fixture.dir(), &secret), &[&owner, "writes here"]);
    assert!(!fixture.dir().join("manifest.json.minisig").exists());
    drop(claim);
    // The folder's own name, from within.
    run(sign(Path::new("."), &secret).current_dir(fixture.dir()));
    let claim = coverslip_files::Claim::beside(&folder.join("b.pub")).unwrap();
    let mut command = coverslip();
    command.args(["sign", "keygen", "--no-password", "--secret"]).arg(folder.join("b.key"));
    refused(command.arg("--public").arg(folder.join("b.pub")), &[&owner, "writes here"]);
    assert!(!folder.join("b.key").exists(), "no half of a pair");
    drop(claim);
}

#[test]
fn profiles_are_signed_too() {
    let folder = Scratch::new("sign-profile");
    let model = folder.join("bundle");
    coverslip_testkit::bundle(&model);
    let bundle = coverslip_bundle::Bundle::open(&model).unwrap();
    let profile = coverslip_profile::synthetic::profile(bundle.manifest(), bundle.digest(), &["A"], 99);
    let place = folder.join("profile");
    coverslip_profile::write(&profile, &place, false).unwrap();
    let (secret, public) = (folder.join("site.key"), folder.join("site.pub"));
    let key = keygen(&secret, &public);
    run(coverslip().args(["sign", "profile"]).arg(&place).arg("--secret").arg(&secret));
    let said = stdout(&mut verify(&place, &key));
    assert!(said.contains("coverslip profile"), "{said}");
    let page = stdout(coverslip().args(["profile", "inspect"]).arg(&place).arg("--trusted-key").arg(&public));
    assert!(page.contains("signature by the trusted key"), "{page}");
    refused(coverslip().args(["sign", "bundle"]).arg(&place).arg("--secret").arg(&secret), &["manifest.json"]);
    let open = |require: &[&str]| {
        let mut command = coverslip();
        command.args(["doctor", "--bundle"]).arg(&model).args(["--trusted-key", &key]).args(require);
        stdout(&mut command).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(open(&[]).contains("signature none"), "{}", open(&[]));
    let strict = open(&["--require-signature"]);
    assert!(strict.contains("does not open: SIGNATURE_INVALID"), "{strict}");
    run(&mut sign(&model, &secret));
    let signed = open(&["--require-signature"]);
    assert!(signed.contains("signature by the trusted key") && signed.contains("AUTO chooses"), "{signed}");
}

/// minisign in C, with libsodium: another hand's work on the same format.
fn minisign() -> Option<Command> {
    let there = Command::new("minisign").arg("-v").output().is_ok_and(|output| output.status.success());
    if !there {
        note("left out: minisign is not installed (Debian has it as `minisign`)");
    }
    there.then(|| Command::new("minisign"))
}

/// Runs minisign, which reads passwords from its standard input where that is no terminal.
fn with_input(command: &mut Command, input: &str) {
    use std::io::Write;
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{command:?}: {output:?}");
}

#[test]
fn minisign_verifies_what_we_sign_and_we_what_it_signs() {
    let (Some(mut verifier), Some(mut maker), Some(mut signer), Some(mut checker)) =
        (minisign(), minisign(), minisign(), minisign())
    else {
        return;
    };
    let (fixture, folder) = (Fixture::new(), Scratch::new("peer"));
    let manifest = fixture.dir().join("manifest.json");
    let (secret, public) = (folder.join("ours.key"), folder.join("ours.pub"));
    keygen(&secret, &public);
    run(&mut sign(&fixture.dir(), &secret));
    let said = stdout(verifier.arg("-Vm").arg(&manifest).arg("-p").arg(&public));
    assert!(said.contains("Signature and comment signature verified"), "{said}");
    let digest = fixture.open().unwrap().digest().to_string();
    assert!(said.contains("Trusted comment: coverslip bundle") && said.contains(&digest), "{said}");

    // Its keys and its signature; then its secret key in our hands.
    let (theirs, their_public) = (folder.join("theirs.key"), folder.join("theirs.pub"));
    run(maker.args(["-G", "-W", "-s"]).arg(&theirs).arg("-p").arg(&their_public));
    run(signer.arg("-Sm").arg(&manifest).arg("-s").arg(&theirs).args(["-t", "by minisign itself"]));
    let said = stdout(&mut verify(&fixture.dir(), their_public.to_str().unwrap()));
    assert!(said.contains(": by minisign itself"), "{said}");
    let number = fs::read_to_string(&their_public).unwrap();
    let number = number.lines().next().unwrap().rsplit(' ').next().unwrap();
    assert!(said.contains(&format!("{number:0>16}:")), "{number} is not in {said}");
    run(&mut sign(&fixture.dir(), &theirs));
    run(checker.arg("-Vm").arg(&manifest).arg("-p").arg(&their_public));
    run(&mut verify(&fixture.dir(), their_public.to_str().unwrap()));

    // It writes no checksum into a key without a password: a damaged one is found by what it signs.
    let text = fs::read_to_string(&theirs).unwrap();
    let at = text.find("RWQAAEIy").expect("a key without a password") + 90;
    let other = if &text[at..=at] == "A" { "B" } else { "A" };
    fs::write(&theirs, [&text[..at], other, &text[at + 1..]].concat()).unwrap();
    refused(&mut sign(&fixture.dir(), &theirs), &["Could not verify signature"]);
    run(&mut verify(&fixture.dir(), their_public.to_str().unwrap()));
}

#[test]
fn keys_with_passwords_are_read_by_either() {
    let (fixture, folder) = (Fixture::new(), Scratch::new("password"));
    let manifest = fixture.dir().join("manifest.json");
    let (secret, public, password) = (folder.join("ours.key"), folder.join("ours.pub"), folder.join("password"));
    fs::write(&password, "correct horse\n").unwrap();
    let mut keygen = coverslip();
    keygen.args(["sign", "keygen", "--secret"]).arg(&secret).arg("--public").arg(&public);
    run(keygen.arg("--password-file").arg(&password));
    run(sign(&fixture.dir(), &secret).arg("--password-file").arg(&password));
    let wrong = folder.join("wrong");
    fs::write(&wrong, "wrong\n").unwrap();
    refused(sign(&fixture.dir(), &secret).arg("--password-file").arg(&wrong), &["ours.key", "Wrong password"]);

    let (Some(mut signer), Some(mut maker)) = (minisign(), minisign()) else { return };
    with_input(signer.arg("-Sm").arg(&manifest).arg("-s").arg(&secret), "correct horse\n");
    run(&mut verify(&fixture.dir(), public.to_str().unwrap()));
    // minisign derives the key with a gigabyte of memory.
    let (theirs, their_public) = (folder.join("theirs.key"), folder.join("theirs.pub"));
    with_input(maker.arg("-G").arg("-s").arg(&theirs).arg("-p").arg(&their_public), "correct horse\ncorrect horse\n");
    run(sign(&fixture.dir(), &theirs).arg("--password-file").arg(&password));
    run(&mut verify(&fixture.dir(), their_public.to_str().unwrap()));
}
