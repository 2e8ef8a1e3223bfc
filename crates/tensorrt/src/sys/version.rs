//! Product and version of a library, and which of them this crate drives.

use std::fmt;

use super::slots::{RTX, Slots, TENSORRT_10_0, TENSORRT_10_1, TENSORRT_10_13, TENSORRT_11};

/// The two products that share the name TensorRT.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Flavor {
    /// `libnvinfer`, including its lean and dispatch runtimes. Major versions 10, 11, …
    Enterprise,
    /// `libtensorrt_rtx`, which compiles on the user's machine. Versions 1.0, 1.1, …
    Rtx,
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enterprise => "TensorRT",
            Self::Rtx => "TensorRT-RTX",
        })
    }
}

/// The version that a library reports.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Version {
    /// The generation of the interface tables.
    pub major: i32,
    /// The release.
    pub minor: i32,
    /// The patch of the release.
    pub patch: i32,
    /// The build number; 0 if the library does not report it.
    pub build: i32,
}

impl Version {
    /// Unpacks the number of `getInferLibVersion`: `major · 10000 + minor · 100 + patch`; before TensorRT 10,
    /// `major · 1000 + …`.
    pub(super) fn from_packed(packed: i32) -> Self {
        let unit = if (5_000..10_000).contains(&packed) { 1_000 } else { 10_000 };
        Self { major: packed / unit, minor: packed % unit / 100, patch: packed % 100, build: 0 }
    }

    /// The major version decides: RTX counts from 1, and a TensorRT that old exports none of these functions.
    pub(super) fn flavor(&self) -> Flavor {
        if self.major < 5 { Flavor::Rtx } else { Flavor::Enterprise }
    }

    /// Whether the tables were compared with this release's headers. Within a generation NVIDIA only appends methods,
    /// so later releases are driven too, unchecked.
    pub(super) fn is_known(&self) -> bool {
        matches!((self.major, self.minor), (10, 0..=16) | (11, 0..=4) | (1, 5..=7))
    }

    /// The interface table of this version, or why there is none.
    pub(super) fn slots(&self) -> Result<&'static Slots, Refusal> {
        match (self.major, self.minor) {
            (10, 0) => Ok(&TENSORRT_10_0),
            (10, 1..=12) => Ok(&TENSORRT_10_1),
            (10, _) => Ok(&TENSORRT_10_13),
            (11, _) => Ok(&TENSORRT_11),
            (1, 5..) => Ok(&RTX),
            (1, _) => Err(Refusal::Older("TensorRT-RTX before 1.5 has other interface tables: install 1.5 or newer")),
            (..1 | 5..=9, _) => Err(Refusal::Older("install TensorRT 10 or 11, or TensorRT-RTX 1.5 or newer")),
            _ => Err(Refusal::Newer(
                "this generation is newer than this program: update the program, or install \
                                     TensorRT 11 or TensorRT-RTX 1.5 or newer of major 1 beside it",
            )),
        }
    }

    /// Whether `ILogger` is no `IVersionedInterface` yet.
    pub(super) fn has_plain_logger(&self) -> bool {
        self.major == 10
    }

    /// What a network must be made with so that the types of the model decide: on TensorRT 10
    /// `1 << NetworkDefinitionCreationFlag::kSTRONGLY_TYPED`; later networks are so without a flag.
    pub(super) fn strongly_typed(&self) -> u32 {
        if self.major == 10 { 1 << 1 } else { 0 }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if self.build > 0 { write!(f, ".{}", self.build) } else { Ok(()) }
    }
}

/// Why this crate does not drive a version, and what to install.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The generation is older than the tables here.
    Older(&'static str),
    /// The generation is newer than this program.
    Newer(&'static str),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Older(text) | Self::Newer(text)) = self;
        f.write_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(major: i32, minor: i32) -> Version {
        Version { major, minor, patch: 0, build: 0 }
    }

    #[test]
    fn one_number_is_read_in_both_of_its_forms() {
        let triple = |packed| {
            let v = Version::from_packed(packed);
            (v.major, v.minor, v.patch)
        };
        assert_eq!(triple(110_400), (11, 4, 0));
        assert_eq!(triple(101_601), (10, 16, 1));
        assert_eq!(triple(10_701), (1, 7, 1));
        assert_eq!(triple(8_601), (8, 6, 1));
    }

    #[test]
    fn what_is_driven_and_what_is_refused() {
        for (major, minor) in
            [(10, 0), (10, 12), (10, 16), (10, 20), (11, 0), (11, 4), (11, 9), (1, 5), (1, 7), (1, 12)]
        {
            assert!(version(major, minor).slots().is_ok(), "{major}.{minor}");
        }
        for (major, minor, word) in [(9, 3, "TensorRT 10 or 11"), (1, 4, "before 1.5"), (8, 6, "TensorRT 10 or 11")] {
            match version(major, minor).slots() {
                Err(refusal @ Refusal::Older(_)) => assert!(refusal.to_string().contains(word), "{refusal}"),
                other => panic!("{major}.{minor}: {other:?}"),
            }
        }
        for (major, minor) in [(12, 0), (2, 0), (100, 1)] {
            assert!(matches!(version(major, minor).slots(), Err(Refusal::Newer(_))), "{major}.{minor}");
        }
    }

    #[test]
    fn the_flavour_follows_from_the_major() {
        assert_eq!(version(1, 7).flavor(), Flavor::Rtx);
        assert_eq!(version(11, 4).flavor(), Flavor::Enterprise);
        assert_eq!(version(10, 0).flavor(), Flavor::Enterprise);
    }

    #[test]
    fn known_releases_are_those_whose_headers_were_read() {
        assert!(version(10, 0).is_known() && version(11, 4).is_known() && version(1, 7).is_known());
        assert!(
            !version(10, 17).is_known()
                && !version(11, 5).is_known()
                && !version(1, 8).is_known()
                && !version(1, 4).is_known()
        );
    }
}
