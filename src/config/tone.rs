//! The tone of a slide and which of its pixels were not scanned, checked.

use coverslip_pixels::tone::ToneSpec;
use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::SlideDesc;

use super::range::in_range;
use crate::tiles::content::NotScanned;
use coverslip_base::error::{Result, error};
use coverslip_base::memory::reserve;

/// The highest level that any format has.
const HIGHEST: f64 = 65_535.0;

/// `table`: what `tone_table` leads to.
pub(super) fn spec(desc: &SlideDesc, table: &[u8]) -> Result<ToneSpec> {
    in_range("slide_desc.tone_black", desc.tone_black, 0.0..=HIGHEST)?;
    in_range("slide_desc.tone_white", desc.tone_white, 0.0..=HIGHEST)?;
    if desc.tone_white != 0.0 && desc.tone_black >= desc.tone_white {
        return Err(error!(
            INVALID_ARGUMENT,
            "expected slide_desc.tone_black below tone_white, found {} and {}", desc.tone_black, desc.tone_white
        ));
    }
    if desc.tone_gamma != 0.0 {
        in_range("slide_desc.tone_gamma", desc.tone_gamma, 0.1..=10.0)?;
    }
    if !table.is_empty() && desc.tone_gamma != 0.0 {
        return Err(error!(
            INVALID_ARGUMENT,
            "expected slide_desc.tone_gamma or tone_table, found both: the table is the curve, leave the gamma 0"
        ));
    }
    if desc.white_balance != [0.0; 3] {
        for factor in desc.white_balance {
            in_range("slide_desc.white_balance", factor, f64::MIN_POSITIVE..=16.0)?;
        }
    }
    for factor in desc.color_matrix {
        in_range("slide_desc.color_matrix", factor, -16.0..=16.0)?;
    }
    let mut curve = reserve(table.len())?;
    curve.extend_from_slice(table);
    Ok(ToneSpec {
        black: desc.tone_black,
        white: desc.tone_white,
        gamma: desc.tone_gamma,
        table: curve,
        balance: desc.white_balance,
        matrix: desc.color_matrix,
    })
}

pub(super) fn not_scanned(desc: &SlideDesc) -> Result<NotScanned> {
    let by_value = desc.flags & abi::SLIDE_NOT_SCANNED_VALUE != 0;
    for level in desc.not_scanned {
        in_range("slide_desc.not_scanned", level, 0..=if by_value { 65_535 } else { 0 })?;
    }
    Ok(NotScanned {
        alpha: desc.flags & abi::SLIDE_ALPHA_IS_VALIDITY != 0,
        value: by_value.then_some(desc.not_scanned),
    })
}
