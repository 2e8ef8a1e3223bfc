//! What a host's run came to: a line for each violation, and a summary.

use std::collections::BTreeMap;
use std::process::{ExitCode, ExitStatus};

use serde::Serialize;

use super::wire::Event;

/// A rule that was broken, by one call.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Violation {
    rule: String,
    call: String,
    what: String,
    /// The header's.
    sentence: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    violations: Vec<Violation>,
    /// How often each rule was broken.
    rules: BTreeMap<String, usize>,
    slides: u64,
    calls: u64,
    frames: u64,
    results: u64,
    /// The longest time between two polls of a slide while frames came.
    longest_wait_ms: u64,
    /// None: a signal ended it.
    host_exit_code: Option<i32>,
    runtimes: u64,
}

impl Verdict {
    pub(super) fn of(events: &[Event], status: ExitStatus) -> Verdict {
        let mut verdict = Verdict {
            violations: Vec::new(),
            rules: BTreeMap::new(),
            slides: 0,
            calls: 0,
            frames: 0,
            results: 0,
            longest_wait_ms: 0,
            host_exit_code: status.code(),
            runtimes: 0,
        };
        let mut open = BTreeMap::new();
        for event in events {
            match event.clone() {
                Event::Broken { rule, call, what, sentence } => verdict.add(Violation { rule, call, what, sentence }),
                Event::Opened { runtime, rule, sentence } => {
                    verdict.runtimes += 1;
                    open.insert(runtime, (rule, sentence));
                }
                Event::Closed { runtime } => drop(open.remove(&runtime)),
                Event::Slide { calls, frames, results, longest_wait_ms } => {
                    verdict.slides += 1;
                    verdict.calls += calls;
                    verdict.frames += frames;
                    verdict.results += results;
                    verdict.longest_wait_ms = verdict.longest_wait_ms.max(longest_wait_ms);
                }
            }
        }
        for (runtime, (rule, sentence)) in open {
            let what = format!("the runtime {runtime} was never closed");
            verdict.add(Violation { rule, call: "runtime_close".into(), what, sentence });
        }
        verdict
    }

    fn add(&mut self, violation: Violation) {
        *self.rules.entry(violation.rule.clone()).or_default() += 1;
        // A rule that every frame breaks is told once for each way in which it is.
        let known = |other: &&Violation| {
            (&other.rule, &other.call, &other.what) == (&violation.rule, &violation.call, &violation.what)
        };
        if !self.violations.iter().any(|other| known(&other)) {
            self.violations.push(violation);
        }
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let line = |v: &Violation| format!("{}: {}: {}. The contract: \"{}\"", v.rule, v.call, v.what, v.sentence);
        let mut lines: Vec<String> = self.violations.iter().map(line).collect();
        let host = match self.host_exit_code {
            Some(code) => format!("the host ended with {code}"),
            None => "a signal ended the host".into(),
        };
        if self.runtimes == 0 {
            lines.push(
                "the host opened no runtime through the library that stands in: give {library} where it takes a path"
                    .into(),
            );
        }
        lines.push(format!(
            "{} rules broken, {} times; {} slides, {} frames, {} results; {host}",
            self.rules.len(),
            self.rules.values().sum::<usize>(),
            self.slides,
            self.frames,
            self.results
        ));
        lines
    }

    pub(super) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        match self.host_exit_code {
            _ if !self.rules.is_empty() || self.runtimes == 0 => ExitCode::FAILURE,
            Some(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
            None => ExitCode::FAILURE,
        }
    }
}
