//! The taps: those of `model.json`, or one after the final norm.

use super::names::Found;
use super::spec::{ModelSpec, TapSpec};
use super::statements::Statements;
use coverslip_bundle::{BundleError, fail};
use coverslip_bundle::{Pooling, Tap, TapSource, Vit};

/// Name of the tap if none is stated.
const LAST: &str = "last";

/// The taps, and notes about them.
///
/// # Errors
/// `Invalid` for a block that does not exist; `Missing` or `Unsupported` if no pooling is stated.
pub(super) fn read(
    found: &Found,
    vit: &Vit,
    spec: &ModelSpec,
    all: &Statements,
) -> Result<(Vec<Tap>, Option<String>), BundleError> {
    let tap = |tap: &TapSpec| Tap {
        name: tap.name.clone(),
        source: TapSource::Block { after_block: tap.block, final_norm: tap.after_norm },
        pooling: tap.pooling,
    };
    if let Some(wrong) = spec.taps.iter().find(|tap| tap.block >= vit.depth) {
        fail!(
            Invalid,
            "tap `{}` reads after block {}, the weights have {} blocks, counted from 0",
            wrong.name,
            wrong.block,
            vit.depth
        );
    }
    if !spec.taps.is_empty() {
        if spec.pooling.is_some() {
            fail!(
                Invalid,
                "\"pooling\" (or --pooling) is for models without \"taps\", which have their own; expected one of them"
            );
        }
        return Ok((spec.taps.iter().map(tap).collect(), None));
    }
    let (pooling, by) = pooling(found, spec, all)?;
    let last = TapSpec { name: LAST.to_owned(), block: vit.depth.saturating_sub(1), after_norm: true, pooling };
    let note = format!("no tap was stated: `{LAST}` reads after the final norm, {} ({by})", title(pooling));
    Ok((vec![tap(&last)], Some(note)))
}

/// The pooling of the tokens, and the statement's origin.
fn pooling(found: &Found, spec: &ModelSpec, all: &Statements) -> Result<(Pooling, String), BundleError> {
    const WHAT_TO_SAY: &str = "say in model.json \"pooling\": \"class_token\", \"mean_patch_tokens\", \
                               \"class_and_mean\" or \"patch_tokens\", or \"taps\"";
    if let Some(pooling) = spec.pooling {
        return Ok((pooling, "model.json's pooling".to_owned()));
    }
    let Some(said) = &all.global_pool else {
        fail!(Missing, "no tap is stated, and nothing states how the model's tokens are pooled; {WHAT_TO_SAY}");
    };
    match said.value.as_str() {
        "token" => Ok((Pooling::ClassToken, format!("{} is token", said.by))),
        // In timm fc_norm is true for global_pool="avg" unless stated otherwise, and there is then no `norm`.
        "avg" if found.contains("norm.weight") && all.fc_norm.as_ref().is_some_and(|fc_norm| !fc_norm.value) => {
            Ok((Pooling::MeanPatchTokens, format!("{} is avg, fc_norm is false", said.by)))
        }
        "avg" => fail!(
            Unsupported,
            "{} is avg, for which timm applies the norm after pooling unless fc_norm is false; nothing states that, \
             and the weights have no fc_norm; {WHAT_TO_SAY}",
            said.by
        ),
        other => fail!(
            Unsupported,
            "{} is `{other}`: not supported in this version; expected token or avg; {WHAT_TO_SAY}",
            said.by
        ),
    }
}

fn title(pooling: Pooling) -> &'static str {
    match pooling {
        Pooling::ClassToken => "class token",
        Pooling::MeanPatchTokens => "mean of the patch tokens",
        Pooling::ClassAndMean => "class token and mean of the patch tokens",
        Pooling::PatchTokens => "patch tokens one by one",
        Pooling::None => "as it is",
    }
}
