//! What a row of the file is: a tile with its pooled taps, or one of the patch tokens drawn of it.

use std::ops::Range;

use coverslip_bundle::Manifest;
use coverslip_numerics::Draw;

use crate::embeddings::{Content, TapInfo};
use crate::play::{Kept, TokenDraw};

/// Patch tokens that are asked for.
#[derive(Debug, Clone)]
pub(crate) struct TokensAsked {
    pub(crate) tap: String,
    /// At most.
    pub(crate) per_tile: usize,
    /// The same seed draws the same tokens.
    pub(crate) seed: u64,
}

/// The rows of a file.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) content: Content,
    kept: Kept,
}

impl Rows {
    /// Of a bundle that reports `features` per tile.
    ///
    /// # Errors
    /// Where no tap has what is asked for.
    pub(super) fn new(manifest: &Manifest, tokens: Option<&TokensAsked>, features: usize) -> Result<Rows, String> {
        match tokens {
            Some(asked) => Rows::tokens(manifest, asked),
            None => Rows::tiles(manifest, features),
        }
    }

    fn tiles(manifest: &Manifest, features: usize) -> Result<Rows, String> {
        let pooled = || places(manifest).filter(|(at, _)| manifest.patch_tokens(&manifest.taps[*at]).is_none());
        let taps: Vec<TapInfo> =
            pooled().map(|(at, place)| TapInfo { name: manifest.taps[at].name.clone(), width: place.len() }).collect();
        if taps.is_empty() {
            return Err(
                "expected a tap with one vector per tile, found patch tokens alone: give --patch-tokens TAP".into()
            );
        }
        let kept = if taps.len() == manifest.taps.len() {
            Kept::All
        } else {
            Kept::Taps(pooled().map(|(_, place)| place).collect())
        };
        Ok(Rows { content: Content { taps, k: features, tokens: false }, kept })
    }

    fn tokens(manifest: &Manifest, asked: &TokensAsked) -> Result<Rows, String> {
        let found = places(manifest).find(|(at, _)| manifest.taps[*at].name == asked.tap);
        let tokens = found.and_then(|(at, place)| Some((place, manifest.patch_tokens(&manifest.taps[at])?)));
        let Some((place, (width, patches))) = tokens else {
            let has = |tap: &&coverslip_bundle::Tap| manifest.patch_tokens(tap).is_some();
            let names: Vec<&str> = manifest.taps.iter().filter(has).map(|tap| tap.name.as_str()).collect();
            return Err(format!(
                "--patch-tokens {}: expected a tap of the bundle with the pooling patch_tokens, found {}; build a bundle with \
                 such a tap (docs/guide/train-sae.md)",
                asked.tap.escape_default(),
                if names.is_empty() { "none".into() } else { names.join(", ") }
            ));
        };
        let draw = Draw::new(asked.seed);
        let kept = TokenDraw { start: place.start, width, patches, per_tile: asked.per_tile, draw };
        let taps = vec![TapInfo { name: asked.tap.clone(), width }];
        Ok(Rows { content: Content { taps, k: 0, tokens: true }, kept: Kept::Tokens(kept) })
    }

    /// What is kept of the tiles of the slide or image of this name.
    pub(super) fn kept(&self, name: &str) -> Kept {
        match &self.kept {
            Kept::Tokens(tokens) => {
                let draw = name.bytes().fold(tokens.draw, |draw, byte| draw.of(byte.into()));
                Kept::Tokens(TokenDraw { draw, ..tokens.clone() })
            }
            kept => kept.clone(),
        }
    }

    /// Rows of a tile.
    pub(super) fn per_tile(&self) -> usize {
        match &self.kept {
            Kept::Tokens(tokens) => tokens.per_tile.min(tokens.patches),
            _ => 1,
        }
    }

    /// What the rows are called.
    pub(super) fn title(&self) -> &'static str {
        if self.content.tokens { "patch tokens" } else { "tiles" }
    }
}

/// The taps by number, each with its place in the embedding.
fn places(manifest: &Manifest) -> impl Iterator<Item = (usize, Range<usize>)> {
    manifest.taps.iter().enumerate().scan(0, |end, (at, tap)| {
        let start = *end;
        *end += manifest.tap_width(tap);
        Some((at, start..*end))
    })
}
