//! What is told to the command: one line of JSON for each event, over a socket that it listens on.

use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::rules::Rule;

/// What the command gives to the host's process: the abstract name of its socket.
const SOCKET: &str = "COVERSLIP_VALIDATE_SOCKET";

fn line(text: &str) {
    static STREAM: OnceLock<Option<Mutex<UnixStream>>> = OnceLock::new();
    let stream = STREAM.get_or_init(|| {
        let address = SocketAddr::from_abstract_name(std::env::var(SOCKET).ok()?).ok()?;
        UnixStream::connect_addr(&address).ok().map(Mutex::new)
    });
    if let Some(stream) = stream {
        // A command that has gone away hears nothing; the host goes on.
        let _ = writeln!(stream.lock().unwrap_or_else(PoisonError::into_inner), "{text}");
    }
}

/// Text as JSON has it.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A rule was broken.
pub(crate) fn broken(rule: Rule, call: &str, what: &str) {
    let Rule { name, sentence } = rule;
    line(&format!(
        "{{\"event\":\"broken\",\"rule\":{},\"call\":{},\"what\":{},\"sentence\":{}}}",
        quoted(name),
        quoted(call),
        quoted(what),
        quoted(sentence)
    ));
}

/// A runtime was opened; unless it is closed later, `rule` is broken.
pub(crate) fn opened(runtime: u64, rule: Rule) {
    line(&format!(
        "{{\"event\":\"opened\",\"runtime\":\"{runtime:#x}\",\"rule\":{},\"sentence\":{}}}",
        quoted(rule.name),
        quoted(rule.sentence)
    ));
}

pub(crate) fn closed(runtime: u64) {
    line(&format!("{{\"event\":\"closed\",\"runtime\":\"{runtime:#x}\"}}"));
}

/// A slide has ended: what was counted of it.
pub(crate) fn slide(calls: u64, frames: u64, results: u64, longest_wait_ms: u64) {
    line(&format!(
        "{{\"event\":\"slide\",\"calls\":{calls},\"frames\":{frames},\"results\":{results},\
         \"longest_wait_ms\":{longest_wait_ms}}}"
    ));
}
