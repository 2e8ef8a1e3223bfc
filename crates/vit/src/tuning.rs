//! A choice of kernels that overrides the table: the file of `coverslip engine tune`.
//!
//! It is a file and not a timing at open, so that two runs on one machine are the same.

use std::fmt;
use std::str::FromStr;

use coverslip_bundle::Precision;

use crate::choice::Choice;

/// The first line of the file.
const TITLE: &str = "coverslip cpu tuning 1";

/// The kernels of each precision; `None`: the table's.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tuning {
    /// Of float32.
    pub float32: Option<Choice>,
    /// Of half precision.
    pub half: Option<Choice>,
    /// Of a mix with int8.
    pub int8: Option<Choice>,
}

impl fmt::Display for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{TITLE}")?;
        for (name, choice) in [("float32", self.float32), ("half", self.half), ("int8", self.int8)] {
            if let Some(choice) = choice {
                writeln!(f, "{name}={choice}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Tuning {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        if lines.next() != Some(TITLE) {
            return Err(format!("expected `{TITLE}` in the first line: a file of `coverslip engine tune`"));
        }
        let mut tuning = Tuning::default();
        for line in lines {
            let (name, kernels) =
                line.split_once('=').ok_or_else(|| format!("expected NAME=KERNELS, found `{line}`"))?;
            let choice: Choice = kernels.parse()?;
            let float32 = choice.floats.precision() == Precision::Float32;
            let (place, fits) = match name {
                "float32" => (&mut tuning.float32, float32 && choice.int8.is_none()),
                "half" => (&mut tuning.half, !float32 && choice.int8.is_none()),
                "int8" => (&mut tuning.int8, choice.int8.is_some()),
                _ => return Err(format!("expected float32, half or int8 before `=`, found `{name}`")),
            };
            if !fits {
                return Err(format!("`{choice}` are no kernels of {name}"));
            }
            if place.replace(choice).is_some() {
                return Err(format!("{name} is there twice"));
            }
        }
        Ok(tuning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tuning_is_read_as_it_is_written_and_nothing_else_is() {
        let choice = |text: &str| Some(text.parse::<Choice>().unwrap());
        let (float32, half) = (choice("avx2"), choice("avx512-bf16"));
        for tuning in [
            Tuning::default(),
            Tuning { float32, ..Tuning::default() },
            Tuning { float32, half, int8: choice("avx512-vnni avx512-bf16") },
        ] {
            assert_eq!(tuning.to_string().parse(), Ok(tuning));
        }
        for (text, why) in [
            ("", "first line"),
            ("coverslip cpu tuning 2\n", "first line"),
            ("coverslip cpu tuning 1\nfloat32\n", "NAME=KERNELS"),
            ("coverslip cpu tuning 1\nfloat32=avx3\n", "avx3"),
            ("coverslip cpu tuning 1\nfloat64=avx2\n", "float64"),
            ("coverslip cpu tuning 1\nhalf=avx2\n", "no kernels of half"),
            ("coverslip cpu tuning 1\nfloat32=avx2\nfloat32=avx2\n", "twice"),
        ] {
            let error = text.parse::<Tuning>().unwrap_err();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }
}
