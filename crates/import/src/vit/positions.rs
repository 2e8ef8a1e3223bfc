//! The position embedding: the meaning of its rows and, for another input size, resampling as in the model's own
//! library.

use super::super::StoreAs;
use super::conventions::Convention;
use super::names::Found;
use super::shape::Shape;
use super::spec::{Interpolation, ModelSpec};
use super::statements::{Statement, Statements};
use crate::cubic::{Cubic, cubic_matrix};
use coverslip_bundle::Weight;
use coverslip_bundle::limits::{MAX_SIDE, MAX_TOKENS};
use coverslip_bundle::tensors::{Element, Tensor};
use coverslip_bundle::{BundleError, fail};
use coverslip_numerics::there_is;

const NAME: &str = "pos_embed";

/// The bundle's position embedding.
#[derive(Debug)]
pub(super) struct Positions {
    /// Width and height of the model's input, px.
    pub(super) side: usize,
    /// Whether the embedding covers the patches only.
    pub(super) no_embed_class: bool,
    pub(super) weight: Weight,
    /// What was changed, in sentences.
    pub(super) notes: Vec<String>,
}

/// The meaning of the rows: `prefix` rows for other tokens, then a square grid of patches.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rows {
    prefix: usize,
    grid: usize,
}

/// Reads the position embedding and resamples it if necessary.
///
/// # Errors
/// `Unsupported` if it is not a square grid; `Invalid` if it contradicts a statement; `Missing` if its rows have two
/// possible meanings; all errors of reading the tensor.
pub(super) fn read(
    found: &Found,
    shape: &Shape,
    stated: &Statements,
    all: &Statements,
    spec: &ModelSpec,
    precision: StoreAs,
) -> Result<Positions, BundleError> {
    let vit = &shape.vit;
    let rows = match found.shape(NAME) {
        Some([1, rows, width]) if *width == vit.embed_dim => *rows,
        other => fail!(
            Unsupported,
            "not supported in this version: tensor `{}` has shape {:?}, expected [1, positions, {}]",
            found.file_name(NAME),
            other.unwrap_or_default(),
            vit.embed_dim
        ),
    };
    let read = rows_of(found, shape, rows, stated, all)?;
    let stored = read.grid * vit.patch;
    if let Some(said) = stated.stored_side.as_ref().filter(|said| said.value != stored) {
        fail!(
            Invalid,
            "{} is {}, `{}` has {grid} × {grid} patches of {} px, which is {stored}; expected the same",
            said.by,
            said.value,
            found.file_name(NAME),
            vit.patch,
            grid = read.grid
        );
    }
    let side = side(stated, stored, vit.patch)?;
    if vit.tokens(side) > MAX_TOKENS {
        fail!(
            TooLarge,
            "an input of {side} px in patches of {} px has {} tokens, expected at most {MAX_TOKENS}: state a smaller \
             \"img_size\"",
            vit.patch,
            vit.tokens(side)
        );
    }
    let grid = side / vit.patch;
    let tokens = vit.prefix_tokens();
    // In DINOv2 and transformers the class token has a position and registers have none, which equals rows of zeros.
    let padding = if read.prefix == 0 { 0 } else { tokens - read.prefix };
    let no_embed_class = read.prefix == 0 && tokens > 0;
    let element = found.element(NAME).unwrap_or(Element::F32);
    if grid == read.grid && padding == 0 {
        let pieces = vec![(found.file_name(NAME), 0..1)];
        let shape = vec![1, rows, vit.embed_dim];
        let weight = Weight::rows(found.checkpoint.clone(), pieces, shape, precision.stored(element));
        return Ok(Positions { side, no_embed_class, weight, notes: Vec::new() });
    }
    let width = vit.embed_dim;
    let values = values(found)?;
    let (prefix, patches) = values.split_at(read.prefix * width);
    let mut whole = prefix.to_vec();
    whole.resize((read.prefix + padding) * width, 0.0);
    let (mut notes, mut element) = (Vec::new(), precision.stored(element));
    if padding > 0 {
        notes.push(format!("the {padding} registers have no positions: rows of zeros"));
    }
    if grid == read.grid {
        whole.extend_from_slice(patches);
    } else {
        let variant = spec.interpolation.unwrap_or(match found.convention {
            Convention::Timm => Interpolation::Timm,
            Convention::Dinov2 => Interpolation::Dinov2,
            Convention::Transformers => Interpolation::Transformers,
        });
        let (kind, scale) = kernel(variant, vit.register_tokens > 0, read.grid, grid);
        let bytes = 8 * width as u64 * grid as u64 * (read.grid as u64 + 3 * grid as u64);
        if !there_is(bytes) {
            fail!(OutOfMemory, "no memory for the {bytes} bytes that resampling the position embedding takes");
        }
        whole.extend(resample(patches, width, read.grid, &cubic_matrix(read.grid, grid, scale, kind)?));
        element = precision.stored(Element::F32);
        notes.push(note(variant, spec.interpolation.is_some(), kind, read.grid, grid));
    }
    let tensor = Tensor::f32(&[1, whole.len() / width, width], &whole).to(NAME, element)?;
    Ok(Positions { side, no_embed_class, weight: Weight::here(tensor), notes })
}

/// The stored values, checked to be finite.
fn values(found: &Found) -> Result<Vec<f32>, BundleError> {
    let name = found.file_name(NAME);
    let tensor = found.checkpoint.read(&name)?;
    tensor.view(&name).check_finite()?;
    tensor.view(&name).to_f32()
}

/// Determines the meaning of `rows` rows. Usually only one number of prefix rows leaves a square; if two do, the
/// statements decide.
fn rows_of(
    found: &Found,
    shape: &Shape,
    rows: usize,
    stated: &Statements,
    all: &Statements,
) -> Result<Rows, BundleError> {
    let vit = &shape.vit;
    let tokens = vit.prefix_tokens();
    let prefixes = match (found.convention, &stated.no_embed_class) {
        (Convention::Timm, Some(Statement { value: true, .. })) => vec![0],
        (Convention::Timm, Some(Statement { value: false, .. })) => vec![tokens],
        (Convention::Timm, None) if tokens > 0 => vec![tokens, 0],
        (Convention::Timm, None) => vec![0],
        // These libraries' code knows no other form.
        (Convention::Dinov2 | Convention::Transformers, _) => vec![usize::from(vit.class_token)],
    };
    let square = |prefix: usize| {
        let patches = rows.checked_sub(prefix)?;
        let grid = patches.isqrt();
        (grid > 0 && grid * grid == patches).then_some(Rows { prefix, grid })
    };
    let mut readings: Vec<Rows> = prefixes.iter().copied().filter_map(square).collect();
    let side = stated.stored_side.as_ref().or(stated.side.as_ref());
    if readings.len() > 1 && readings.iter().any(|read| side.is_some_and(|side| side.value == read.grid * vit.patch)) {
        readings.retain(|read| side.is_some_and(|side| side.value == read.grid * vit.patch));
    }
    if let (true, Some(said)) = (readings.len() > 1, &all.no_embed_class) {
        readings.retain(|read| said.value == (read.prefix == 0));
    }
    let name = found.file_name(NAME);
    match &readings[..] {
        [one] => Ok(*one),
        [] => fail!(
            Unsupported,
            "not supported in this version: `{name}` has {rows} rows, which are no square grid of patches {} the \
             {tokens} tokens before them{}; expected a square input{}; resample the position embedding first",
            if prefixes == [0] { "without" } else { "with or without" },
            stated.no_embed_class.as_ref().map_or(String::new(), |said| format!(" ({} is {})", said.by, said.value)),
            side.map_or(String::new(), |side| {
                let grid = side.value / vit.patch;
                format!(" ({} is {}, which is {grid} × {grid} patches)", side.by, side.value)
            })
        ),
        _ => fail!(
            Missing,
            "`{name}` has {rows} rows, which are a square grid of patches both with and without the {tokens} tokens \
             before them; state in model.json which it is (\"no_embed_class\")"
        ),
    }
}

/// The model's input, px: the stated size or, by default, the stored one.
fn side(stated: &Statements, stored: usize, patch: usize) -> Result<usize, BundleError> {
    let Some(said) = &stated.side else { return Ok(stored) };
    if said.value == 0 || said.value > MAX_SIDE || !said.value.is_multiple_of(patch) {
        fail!(
            Invalid,
            "{} is {}, expected a multiple of the weights' patch of {patch} px, {MAX_SIDE} at most",
            said.by,
            said.value
        );
    }
    Ok(said.value)
}

/// The kernel, and the scale for the coordinates.
fn kernel(variant: Interpolation, registers: bool, stored: usize, wanted: usize) -> (Cubic, f64) {
    let (stored, wanted) = (stored as f64, wanted as f64);
    let plain = Cubic::Plain { a: -0.75 };
    match (variant, registers) {
        (Interpolation::Timm, _) => (Cubic::Antialias, wanted / stored),
        // The released models' `interpolate_offset` and `interpolate_antialias`.
        (Interpolation::Dinov2, false) => (plain, (wanted + 0.1) / stored),
        (Interpolation::Dinov2, true) => (Cubic::Antialias, wanted / stored),
        (Interpolation::Transformers, false) => (plain, wanted / stored),
        (Interpolation::Transformers, true) => (Cubic::Antialias, wanted / stored),
    }
}

/// Resamples `[stored², width]` to `[wanted², width]`: columns, then rows, in float64.
fn resample(patches: &[f32], width: usize, stored: usize, matrix: &[f64]) -> Vec<f32> {
    let wanted = matrix.len() / stored;
    let mut across = vec![0.0; stored * wanted * width];
    for (row, out) in patches.chunks_exact(stored * width).zip(across.chunks_exact_mut(wanted * width)) {
        combine(matrix, stored, width, out, |from, value| f64::from(row[from * width + value]));
    }
    let mut down = vec![0.0; wanted * wanted * width];
    combine(matrix, stored, wanted * width, &mut down, |from, value| across[from * wanted * width + value]);
    down.into_iter().map(|value| value as f32).collect()
}

/// Multiplies `matrix` with input rows of `width` values.
fn combine(matrix: &[f64], inputs: usize, width: usize, out: &mut [f64], input: impl Fn(usize, usize) -> f64) {
    for (factors, out) in matrix.chunks_exact(inputs).zip(out.chunks_exact_mut(width)) {
        for (from, factor) in factors.iter().enumerate().filter(|(_, factor)| **factor != 0.0) {
            out.iter_mut().enumerate().for_each(|(value, sum)| *sum += factor * input(from, value));
        }
    }
}

fn note(variant: Interpolation, stated: bool, kind: Cubic, stored: usize, wanted: usize) -> String {
    let whose = match variant {
        Interpolation::Timm => "timm",
        Interpolation::Dinov2 => "DINOv2's own code",
        Interpolation::Transformers => "transformers",
    };
    let antialias = if kind == Cubic::Antialias { "with antialias" } else { "without antialias" };
    let why = if stated { "model.json says so" } else { "by the tensors' names; model.json may say \"interpolation\"" };
    format!(
        "position embedding resampled from {stored}×{stored} to {wanted}×{wanted} as {whose} does, bicubic \
         {antialias} ({why})"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected values are `torch.nn.functional.interpolate`'s (torch 2.15, float64) for patches 0, 1, the middle
    /// one and the last of a grid with two values per patch.
    #[test]
    fn resampling_equals_torchs_interpolation() {
        use Interpolation::{Dinov2, Timm, Transformers};
        let known = [
            (
                7,
                3,
                Timm,
                false,
                [
                    0.045800273,
                    -0.176051314,
                    -0.099982374,
                    0.177851826,
                    0.11750224,
                    0.11233247,
                    -0.291925078,
                    0.186050338,
                ],
            ),
            (
                7,
                3,
                Transformers,
                false,
                [0.223333333, -0.670123457, -0.450740741, 0.289259259, 0.18, 0.92, -0.569917695, 0.311399177],
            ),
            (
                7,
                3,
                Dinov2,
                false,
                [
                    0.151536496,
                    -0.656380449,
                    -0.427164471,
                    0.400557203,
                    0.237997958,
                    0.902800888,
                    -0.456546975,
                    0.323033413,
                ],
            ),
            (
                3,
                5,
                Timm,
                true,
                [-1.141886792, -0.249433962, -0.486905097, -0.552686567, 0.88, -0.4, 0.893392666, -0.550566038],
            ),
            (3, 5, Transformers, false, [-1.18048, -0.24656, -0.42528, -0.62844224, 0.88, -0.4, 0.93909632, -0.55344]),
            (
                3,
                5,
                Dinov2,
                false,
                [
                    -1.1830661,
                    -0.246367418,
                    -0.457057679,
                    -0.611468876,
                    0.882138746,
                    -0.394866116,
                    0.903856718,
                    -0.551233589,
                ],
            ),
            (
                4,
                5,
                Transformers,
                true,
                [-1.149166513, -0.230576923, 0.084629274, -0.747844392, 0.0, 0.298125, 1.149166513, -0.309423077],
            ),
            (
                4,
                5,
                Dinov2,
                true,
                [-1.149166513, -0.230576923, 0.084629274, -0.747844392, 0.0, 0.298125, 1.149166513, -0.309423077],
            ),
        ];
        for (stored, wanted, variant, registers, expected) in known {
            let grid: Vec<f32> = (0..stored * stored * 2).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
            let (kind, scale) = kernel(variant, registers, stored, wanted);
            let found = resample(&grid, 2, stored, &cubic_matrix(stored, wanted, scale, kind).unwrap());
            assert_eq!(found.len(), wanted * wanted * 2);
            let patches = [0, 1, wanted * wanted / 2, wanted * wanted - 1];
            let shown = patches.iter().flat_map(|patch| [found[patch * 2], found[patch * 2 + 1]]);
            for (found, expected) in shown.zip(expected) {
                assert!(
                    (f64::from(found) - expected).abs() < 1e-6,
                    "{stored} {wanted} {variant:?}: {found} {expected}"
                );
            }
        }
    }
}
