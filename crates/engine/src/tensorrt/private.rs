//! A place in which nobody else can write. TensorRT runs a plan, and what RTX keeps beside it, as code, and neither is
//! signed: whoever can put a file there needs no signature.

use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// The real path of the folder or file `place`, if only this process's user and root can write to it, to the folder that
/// it is in, and put something else in their place. A folder that is not there is made, for this user alone.
///
/// # Errors
/// `PermissionDenied` with what was found and what to do; the operating system's.
pub(super) fn private(place: &Path) -> Result<PathBuf> {
    let real = match place.canonicalize() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            create(place)?;
            place.canonicalize()?
        }
        real => real?,
    };
    // A file's folder counts as the place itself: what is kept beside a plan is read from there too.
    let inner = if real.is_file() { 2 } else { 1 };
    real.ancestors().enumerate().try_for_each(|(above, part)| expect_closed(part, above < inner))?;
    Ok(real)
}

/// Fails if another user could change a file of a private folder, or what a link in its place leads to. Where nobody
/// else can enter the folder, the file's own mode does not matter.
///
/// # Errors
/// As [`private`].
pub(super) fn private_file(file: &Path) -> Result<()> {
    let real = file.canonicalize()?;
    match real.parent() {
        Some(folder) if !others_enter(folder)? => private(folder).map(drop),
        _ => private(&real).map(drop),
    }
}

/// Fails if another user could change `part`, or, above the place itself, what is ours in it.
#[cfg(target_os = "linux")]
fn expect_closed(part: &Path, itself: bool) -> Result<()> {
    use std::os::unix::fs::MetadataExt;

    let found = part.metadata()?;
    let (owner, mode) = (found.uid(), found.mode());
    let own = rustix::process::geteuid().as_raw();
    let refused = |what: String| {
        let text = format!(
            "{} {what}, and a signature is required: a plan is code, so expected a place that only this user ({own}) and \
             root can change (`chmod go-w`, or another plan_cache_path)",
            part.display()
        );
        Err(Error::new(ErrorKind::PermissionDenied, text))
    };
    if owner != own && owner != 0 {
        return refused(format!("belongs to the user {owner}"));
    }
    // With the sticky bit, as in /tmp, nobody can remove or rename what is ours.
    let sticky = mode & 0o1000 != 0 && !itself;
    if mode & 0o022 != 0 && !sticky {
        return refused(format!("can be written by others (mode {:o})", mode & 0o7777));
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn expect_closed(part: &Path, _: bool) -> Result<()> {
    let text = format!(
        "who can write to {} cannot be checked on this system, and a signature is required: leave plan_cache_path NULL",
        part.display()
    );
    Err(Error::new(ErrorKind::PermissionDenied, text))
}

#[cfg(target_os = "linux")]
fn others_enter(folder: &Path) -> Result<bool> {
    Ok(std::os::unix::fs::MetadataExt::mode(&folder.metadata()?) & 0o011 != 0)
}

#[cfg(not(target_os = "linux"))]
fn others_enter(_: &Path) -> Result<bool> {
    Ok(true)
}

fn create(folder: &Path) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_place_is_private_if_nobody_else_can_write_to_it_or_replace_it() {
        let home = std::env::temp_dir().join(format!("coverslip-private-{}", std::process::id()));
        let (plans, plan) = (home.join("above/plans"), home.join("above/plans/a.plan"));
        assert_eq!(private(&plans).unwrap(), plans.canonicalize().unwrap());
        assert_eq!(plans.metadata().unwrap().mode() & 0o777, 0o700, "made for this user alone");
        fs::write(&plan, "plan").unwrap();
        mode(&plan, 0o644);
        assert!(private(&plan).is_ok(), "/tmp is open to all, but sticky");

        let refused = |place: &Path, part: &Path, found: &str| {
            let error = private(place).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            let part = part.canonicalize().unwrap();
            assert!(error.to_string().starts_with(&format!("{} can be", part.display())), "{error}");
            assert!(error.to_string().contains(found) && error.to_string().contains("chmod go-w"), "{error}");
        };
        for open in [0o770, 0o707, 0o1777] {
            mode(&plans, open);
            refused(&plans, &plans, &format!("{open:o}"));
            refused(&plan, &plans, &format!("{open:o}"));
        }
        mode(&plans, 0o755);
        mode(&plan, 0o666);
        refused(&plan, &plan, "666");
        // Whoever can rename the folder can put another in its place.
        mode(plans.parent().unwrap(), 0o777);
        refused(&plans, plans.parent().unwrap(), "777");
        mode(plans.parent().unwrap(), 0o755);
        // What a link leads to is what counts and what is used: the link itself can be changed by whoever owns it.
        symlink(&plans, home.join("link")).unwrap();
        assert_eq!(private(&home.join("link")).unwrap(), plans.canonicalize().unwrap());
        fs::remove_dir_all(&home).unwrap();
    }
}
