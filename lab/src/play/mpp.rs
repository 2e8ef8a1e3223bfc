//! The resolution of a slide: the user's word first, then the file's.

use coverslip_slides::{Mpp, SourceError, SourceInfo};

/// Micrometres per pixel by `--mpp` or by the file; None where neither says it.
pub(crate) fn stated(info: &SourceInfo, given: Option<f64>) -> Option<Mpp> {
    given.map(|mpp| Mpp { x: mpp, y: mpp, source: "--mpp".into() }).or_else(|| info.mpp.clone())
}

/// Micrometres per pixel by `--mpp` or by the file.
///
/// # Errors
/// Where neither says it.
pub(crate) fn resolution(info: &SourceInfo, given: Option<f64>) -> Result<Mpp, SourceError> {
    stated(info, given).ok_or_else(|| {
        SourceError(format!(
            "{}: expected micrometres per pixel in the file, found none ({}). Give them with --mpp, for example \
             --mpp 0.5 for 20x or --mpp 0.25 for 40x",
            info.name,
            info.mpp_missing.as_deref().unwrap_or("no tag says it")
        ))
    })
}

#[cfg(test)]
mod tests {
    use coverslip_slides::SlideSource;
    use coverslip_slides::generated::GeneratedSlide;

    use super::*;

    #[test]
    fn the_user_overrules_the_file_and_silence_is_refused() {
        let slide = GeneratedSlide::new();
        let mut info = slide.info().clone();
        assert_eq!(resolution(&info, None).unwrap(), info.mpp.clone().unwrap());
        let given = resolution(&info, Some(0.25)).unwrap();
        assert_eq!((given.x, given.y, given.source.as_str()), (0.25, 0.25, "--mpp"));
        (info.mpp, info.mpp_missing) = (None, Some("no resolution tags".into()));
        assert_eq!(stated(&info, None), None);
        let refused = resolution(&info, None).unwrap_err().0;
        assert!(refused.contains("found none (no resolution tags). Give them with --mpp"), "{refused}");
    }
}
