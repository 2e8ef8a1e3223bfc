//! `coverslip sign`.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;

use super::trust::Keys;
use crate::sign::{self, Generated, Kind, Password};
use crate::term::screen;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key pair in minisign's format
    Keygen {
        /// The new file for the secret key, which only this user may read. One that is there without its public key, as
        /// after a run that was cut off, stays, and gets its public key
        #[arg(long, value_name = "FILE")]
        secret: PathBuf,
        /// The new file for the public key, which hosts get
        #[arg(long, value_name = "FILE")]
        public: PathBuf,
        #[command(flatten)]
        password: PasswordArgs,
        /// Do not protect the secret key by a password
        #[arg(long, conflicts_with = "password_file")]
        no_password: bool,
    },
    /// Check a bundle and sign it
    Bundle(SignArgs),
    /// Check a profile and sign it
    Profile(SignArgs),
    /// Check that a bundle or profile is whole and signed by a key
    Verify {
        /// The directory of a bundle or profile
        folder: PathBuf,
        #[command(flatten)]
        keys: Keys,
    },
}

#[derive(clap::Args, Debug)]
struct SignArgs {
    /// The directory to sign; an older signature is replaced
    folder: PathBuf,
    /// The secret key, of `coverslip sign keygen` or `minisign -G`
    #[arg(long, value_name = "FILE")]
    secret: PathBuf,
    #[command(flatten)]
    password: PasswordArgs,
    /// A line for people, signed with the name, the day and the digest
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

#[derive(clap::Args, Debug)]
struct PasswordArgs {
    /// The file whose first line is the secret key's password [default: ask on the terminal]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl PasswordArgs {
    fn password(self) -> Password {
        self.password_file.map_or(Password::Asked, Password::InFile)
    }
}

pub(super) fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let mut out = screen();
    match args.command {
        Command::Keygen { secret, public, password, no_password } => {
            let password = if no_password { Password::None } else { password.password() };
            let Generated { key, recovered } = sign::generate(&secret, &public, &password)?;
            let from = if recovered { format!(" of {}, which was there", secret.display()) } else { String::new() };
            writeln!(out, "the key {}{from}; hosts trust it by {} or by the text", key.id(), public.display())?;
            Ok(writeln!(out, "{key}")?)
        }
        Command::Bundle(args) => add(Kind::Bundle, args, &mut out),
        Command::Profile(args) => add(Kind::Profile, args, &mut out),
        Command::Verify { folder, keys } => {
            let keys = keys.read()?;
            if keys.is_empty() {
                return Err("expected the key that should have signed it: give --trusted-key".into());
            }
            sign::verify(&folder, keys, &mut out)
        }
    }
}

fn add(kind: Kind, args: SignArgs, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let key = sign::secret(&args.secret, &args.password.password())?;
    sign::sign(kind, &args.folder, &key, args.comment.as_deref(), out)
}
