//! A batch and its outputs, as they lie in a frame.

use coverslip_base::error::Error;
use coverslip_base::memory::grow;
use coverslip_bundle::limits::{MAX_D_SAE, MAX_EMBEDDING, MAX_OUTPUTS};
use coverslip_engine::TileOutput;
use coverslip_plugin_abi::Feature;

use crate::control::MOST;
use crate::field::{Malformed, Reader, Writer};
use crate::transport::Broken;

/// What the outputs of one bundle look like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shape {
    /// Bytes of a tile.
    pub tile: usize,
    /// Numbers of a tile's embedding.
    pub embedding: usize,
    /// Features of a tile at most.
    pub features: usize,
    /// Features that there are.
    pub feature_count: usize,
}

impl Shape {
    /// Bytes of the outputs of `tiles` at most.
    pub const fn output_bytes(&self, tiles: usize) -> usize {
        tiles.saturating_mul(16 + 4 * self.embedding + 8 * self.features)
    }
}

/// A frame says its length in 32 bits. The outputs of the largest batch of the largest bundle fit.
const _: () = {
    let largest = Shape { tile: 0, embedding: MAX_EMBEDDING, features: MAX_OUTPUTS, feature_count: MAX_D_SAE };
    assert!(largest.output_bytes(MOST as usize) <= u32::MAX as usize);
};

/// Says how many tiles lie in the lane's memory, one after the other from its beginning.
pub fn write_shared(tiles: usize) -> [u8; 4] {
    u32::try_from(tiles).unwrap_or(u32::MAX).to_le_bytes()
}

/// How many tiles lie in the lane's memory: 1 to `most`, for which it has room.
///
/// # Errors
/// It is no such number.
pub fn read_shared(bytes: &[u8], most: usize) -> Result<usize, Malformed> {
    let mut reader = Reader::new(bytes);
    let tiles = reader.u32()? as usize;
    reader.end()?;
    if (1..=most).contains(&tiles) { Ok(tiles) } else { Err(Malformed("a batch is empty, or larger than it may be")) }
}

/// Says whether a lane reads the memory that came with its connection.
pub fn write_ready(reads_memory: bool) -> [u8; 1] {
    [u8::from(reads_memory)]
}

/// Whether a lane reads the memory that came with its connection.
///
/// # Errors
/// It is no answer.
pub fn read_ready(bytes: &[u8]) -> Result<bool, Malformed> {
    let mut reader = Reader::new(bytes);
    let reads_memory = reader.flag()?;
    reader.end()?;
    Ok(reads_memory)
}

/// Puts the outputs after each other into `bytes`, which is cleared before.
///
/// # Errors
/// There is no memory.
pub fn write_outputs(outputs: &[TileOutput], bytes: &mut Vec<u8>) -> Result<(), Error> {
    bytes.clear();
    let of = |output: &TileOutput| 16 + 4 * output.embedding.len() + 8 * output.features.len();
    grow(bytes, outputs.iter().map(of).sum())?;
    let mut writer = Writer(std::mem::take(bytes));
    for output in outputs {
        writer.u32(output.embedding.len() as u32);
        writer.u32(output.features.len() as u32);
        writer.u32(output.active_count);
        writer.u32(output.reconstruction_error.to_bits());
        output.embedding.iter().for_each(|value| writer.u32(value.to_bits()));
        for feature in &output.features {
            writer.u32(feature.index);
            writer.u32(feature.value.to_bits());
        }
    }
    *bytes = writer.0;
    Ok(())
}

/// Reads the outputs of as many tiles as `outputs` has.
///
/// # Errors
/// They are not of this shape, or there is no memory for them.
pub fn read_outputs(bytes: &[u8], shape: &Shape, outputs: &mut [TileOutput]) -> Result<(), Broken> {
    let mut reader = Reader::new(bytes);
    for output in outputs.iter_mut() {
        let (embedding, features) = (reader.u32()? as usize, reader.u32()? as usize);
        if embedding != shape.embedding || features > shape.features {
            return Err(Malformed("a tile's outputs have other sizes than the bundle's").into());
        }
        output.active_count = reader.u32()?;
        output.reconstruction_error = f32::from_bits(reader.u32()?);
        if output.active_count as usize > shape.feature_count {
            return Err(Malformed("more features are active than there are").into());
        }
        let numbers = reader.take(4 * embedding)?;
        output.embedding.clear();
        grow(&mut output.embedding, embedding).map_err(Broken::Memory)?;
        output.embedding.extend(numbers.chunks_exact(4).map(number).map(f32::from_bits));
        let pairs = reader.take(8 * features)?;
        output.features.clear();
        grow(&mut output.features, features).map_err(Broken::Memory)?;
        let pair = |pair: &[u8]| Feature { index: number(&pair[..4]), value: f32::from_bits(number(&pair[4..])) };
        output.features.extend(pairs.chunks_exact(8).map(pair));
        if output.features.iter().any(|feature| feature.index as usize >= shape.feature_count) {
            return Err(Malformed("a feature has a number that there is not").into());
        }
    }
    Ok(reader.end()?)
}

/// Four bytes.
fn number(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { tile: 3, embedding: 2, features: 2, feature_count: 9 };

    fn outputs() -> Vec<TileOutput> {
        let one = |seed: f32, features: &[(u32, f32)]| TileOutput {
            embedding: vec![seed, -0.0],
            features: features.iter().map(|&(index, value)| Feature { index, value }).collect(),
            active_count: 5,
            reconstruction_error: f32::from_bits(0x7fc0_1234),
            ..TileOutput::default()
        };
        vec![one(1.5, &[(8, 2.0), (0, 0.25)]), one(f32::MIN_POSITIVE / 2.0, &[])]
    }

    #[test]
    fn outputs_arrive_to_the_last_bit() {
        let mut bytes = vec![9; 3];
        write_outputs(&outputs(), &mut bytes).unwrap();
        assert!(bytes.len() <= SHAPE.output_bytes(2));
        let mut found = vec![TileOutput::default(); 2];
        found[1].features.push(Feature::default());
        read_outputs(&bytes, &SHAPE, &mut found).unwrap();
        for (found, sent) in found.iter().zip(outputs()) {
            let bits = |output: &TileOutput| output.embedding.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(found), bits(&sent));
            let pairs = |output: &TileOutput| output.features.iter().map(|f| (f.index, f.value)).collect::<Vec<_>>();
            assert_eq!((pairs(found), found.active_count), (pairs(&sent), sent.active_count));
            assert_eq!(
                found.reconstruction_error.to_bits(),
                sent.reconstruction_error.to_bits(),
                "a NaN keeps its bits"
            );
        }
    }

    #[test]
    fn outputs_of_another_shape_are_nonsense() {
        let mut bytes = Vec::new();
        write_outputs(&outputs(), &mut bytes).unwrap();
        let read = |bytes: &[u8], shape: &Shape, tiles| {
            read_outputs(bytes, shape, &mut vec![TileOutput::default(); tiles]).is_err()
        };
        assert!(!read(&bytes, &SHAPE, 2));
        assert!(read(&bytes, &SHAPE, 1) && read(&bytes, &SHAPE, 3), "another number of tiles");
        assert!((0..bytes.len()).all(|end| read(&bytes[..end], &SHAPE, 2)), "cut off");
        for shape in [
            Shape { embedding: 3, ..SHAPE },
            Shape { features: 1, ..SHAPE },
            Shape { feature_count: 8, ..SHAPE },
            Shape { feature_count: 4, ..SHAPE },
        ] {
            assert!(read(&bytes, &shape, 2), "{shape:?}");
        }
    }

    #[test]
    fn a_batch_in_memory_has_tiles_that_fit() {
        assert_eq!(read_shared(&write_shared(7), 7), Ok(7));
        for (bytes, most) in [(&write_shared(8)[..], 7), (&write_shared(0), 7), (&[7, 0, 0], 7), (&[7, 0, 0, 0, 0], 7)]
        {
            assert!(read_shared(bytes, most).is_err(), "{bytes:?}");
        }
        assert_eq!(read_shared(&write_shared(usize::MAX), usize::MAX), Ok(u32::MAX as usize));
        for reads in [false, true] {
            assert_eq!(read_ready(&write_ready(reads)), Ok(reads));
        }
        assert!([&[][..], &[2], &[1, 0]].into_iter().all(|bytes| read_ready(bytes).is_err()));
    }
}
