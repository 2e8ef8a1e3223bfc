//! The resolution of a slide: the user's word first, then the file's.

use coverslip_slides::{MPP_RANGE, Mpp, SourceError, SourceInfo};

/// Micrometres per pixel by `--mpp` or by the file; None where neither says it.
pub(crate) fn stated(info: &SourceInfo, given: Option<f64>) -> Option<Mpp> {
    given.map(|mpp| Mpp { x: mpp, y: mpp, source: "--mpp".into() }).or_else(|| info.mpp.clone())
}

/// Micrometres per pixel by `--mpp` or by the file.
///
/// # Errors
/// Where neither says it, or it is outside the range that the plugin takes.
pub(crate) fn resolution(info: &SourceInfo, given: Option<f64>) -> Result<Mpp, SourceError> {
    let mpp = stated(info, given).ok_or_else(|| {
        SourceError(format!(
            "{}: expected micrometres per pixel in the file, found none ({}). Give them with --mpp, for example \
             --mpp 0.5 for 20x or --mpp 0.25 for 40x",
            info.name,
            info.mpp_missing.as_deref().unwrap_or("no tag says it")
        ))
    })?;
    if MPP_RANGE.contains(&mpp.x) && MPP_RANGE.contains(&mpp.y) {
        return Ok(mpp);
    }
    Err(SourceError(format!(
        "{}: expected {} to {} micrometres per pixel, found {} x {} ({}). Give them with --mpp",
        info.name,
        MPP_RANGE.start(),
        MPP_RANGE.end(),
        mpp.x,
        mpp.y,
        mpp.source
    )))
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
        let absurd = Mpp { x: 0.5, y: 1e-4, source: "a tag".into() };
        info.mpp = Some(absurd);
        let refused = resolution(&info, None).unwrap_err().0;
        assert!(refused.starts_with(&info.name) && refused.contains("found 0.5 x 0.0001 (a tag). Give"), "{refused}");
        (info.mpp, info.mpp_missing) = (None, Some("no resolution tags".into()));
        assert_eq!(stated(&info, None), None);
        let refused = resolution(&info, None).unwrap_err().0;
        assert!(refused.contains("found none (no resolution tags). Give them with --mpp"), "{refused}");
    }
}
