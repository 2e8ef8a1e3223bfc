//! `--pooling`.

use coverslip_bundle::Pooling;

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum PoolingName {
    ClassToken,
    MeanPatchTokens,
    ClassAndMean,
    PatchTokens,
}

impl From<PoolingName> for Pooling {
    fn from(name: PoolingName) -> Self {
        match name {
            PoolingName::ClassToken => Self::ClassToken,
            PoolingName::MeanPatchTokens => Self::MeanPatchTokens,
            PoolingName::ClassAndMean => Self::ClassAndMean,
            PoolingName::PatchTokens => Self::PatchTokens,
        }
    }
}
