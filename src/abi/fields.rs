//! Which sizes a host may state: a struct or a record may end after any of its fields, and never inside one.

use std::mem::offset_of;

use coverslip_plugin_abi::{Alert, Field, Fields, TileResult};

use coverslip_base::error::{Result, error};

/// A record of an array, whose size the batch states.
pub(super) trait Record: Fields + Copy {
    /// What a host of 1.0 states; no host knows less.
    const SIZE_1_0: usize;
}

impl Record for TileResult {
    const SIZE_1_0: usize = offset_of!(TileResult, channels_missing);
}

impl Record for Alert {
    const SIZE_1_0: usize = offset_of!(Alert, reason);
}

/// INVALID_STRUCT if a struct of `size` bytes ends inside a field.
pub(super) fn expect_whole_fields<T: Fields>(size: usize, name: &str) -> Result<()> {
    match cut_field::<T>(size) {
        None => Ok(()),
        Some(field) => Err(error!(
            INVALID_STRUCT,
            "expected a {name} that ends after one of its fields, found a struct_size of {size}, inside `{}` (bytes {} \
             to {}): set it with COVERSLIP_INIT",
            field.name,
            field.offset,
            field.offset + field.size
        )),
    }
}

/// INVALID_STRUCT if records of `size` bytes are not those of a version of the contract.
pub(super) fn expect_record_size<T: Record>(size: usize, name: &str) -> Result<()> {
    if size >= T::SIZE_1_0 && size.is_multiple_of(align_of::<T>()) && cut_field::<T>(size).is_none() {
        return Ok(());
    }
    Err(error!(
        INVALID_STRUCT,
        "expected record_size = sizeof({name}) ({} here, {} in version 1.0), found {size}",
        size_of::<T>(),
        T::SIZE_1_0
    ))
}

/// The field that a struct of `size` bytes would cut, if there is one.
fn cut_field<T: Fields>(size: usize) -> Option<&'static Field> {
    T::FIELDS.iter().find(|field| {
        let inside = field.offset < size && size < field.offset + field.size;
        inside && !(size - field.offset).is_multiple_of(field.size / field.parts)
    })
}

#[cfg(test)]
mod tests {
    use coverslip_plugin_abi as abi;

    use super::*;

    /// The planes of a frame are the one array that may be cut, between two of them.
    #[test]
    fn a_frame_may_end_after_each_of_its_planes() {
        let (start, plane) = (offset_of!(abi::Frame, planes), size_of::<abi::Plane>());
        let end = offset_of!(abi::Frame, frame_id);
        let fits = |size: &usize| expect_whole_fields::<abi::Frame>(*size, "coverslip_frame").is_ok();
        let sizes: Vec<usize> = (start..=end).filter(fits).collect();
        assert_eq!(sizes, [0, 1, 2, 3, 4].map(|planes| start + planes * plane));
    }

    #[test]
    fn the_message_names_the_field_that_is_cut() {
        let refusal = expect_whole_fields::<abi::RuntimeDesc>(20, "coverslip_runtime_desc").unwrap_err();
        assert_eq!(refusal.code, abi::INVALID_STRUCT);
        assert!(refusal.text().contains("inside `profile_path` (bytes 16 to 24)"), "{}", refusal.text());
        assert!(expect_whole_fields::<abi::RuntimeDesc>(size_of::<abi::RuntimeDesc>() + 3, "").is_ok());
    }

    #[test]
    fn records_are_those_of_a_version() {
        let fits = |size: &usize| expect_record_size::<TileResult>(*size, "coverslip_result").is_ok();
        let sizes: Vec<usize> = (0..=size_of::<TileResult>() + 16).filter(fits).collect();
        assert_eq!(sizes, [384, 392, 400, 408]);
        assert!(expect_record_size::<Alert>(88, "coverslip_alert").is_ok());
        assert!(expect_record_size::<Alert>(80, "coverslip_alert").is_err());
    }
}
