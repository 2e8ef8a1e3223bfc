//! The slides that a profile is made from, as they are given, and which of them fit and which calibrate.

use std::error::Error;
use std::path::PathBuf;

use coverslip_numerics::Draw;

use crate::embed::inputs::twice;

/// One scanner's slides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) id: String,
    pub(super) slides: Vec<PathBuf>,
}

/// Reads `ID=SLIDE SLIDE… ID=SLIDE…`: a word with `=` and no path before it begins a scanner, or goes on with one.
pub(super) fn scanners(words: &[String]) -> Result<Vec<Given>, Box<dyn Error>> {
    let mut found: Vec<Given> = Vec::new();
    let mut current = None;
    for word in words {
        let path = match word.split_once('=') {
            Some((id, path)) if !id.is_empty() && !id.contains(['/', '\\']) => {
                current = Some(found.iter().position(|given| given.id == id).unwrap_or_else(|| {
                    found.push(Given { id: id.to_owned(), slides: Vec::new() });
                    found.len() - 1
                }));
                path
            }
            _ => word,
        };
        let Some(place) = current else {
            return Err(format!(
                "--scanner: expected the scanner's id before its slides, as in --scanner lab-1=slide.svs; found {word:?}"
            )
            .into());
        };
        found[place].slides.push(PathBuf::from(path));
    }
    Ok(found)
}

/// Whether every slide is given once.
///
/// # Errors
/// When two paths are one slide: it would fit and calibrate, or stand for two scanners.
pub(super) fn distinct(given: &[Given]) -> Result<(), Box<dyn Error>> {
    match twice(given.iter().flat_map(|one| &one.slides)) {
        Some([first, second]) => Err(format!(
            "--scanner: expected each slide once, found {} and {}, which are one; remove one of them",
            first.display(),
            second.display()
        )
        .into()),
        None => Ok(()),
    }
}

/// Which of `count` slides calibrate (true) and which fit: every second one of a seeded order, so that neither half is
/// the older one. The calibration's half is the larger.
///
/// # Errors
/// With fewer than two slides: a tile that fitted the profile looks better to it than any other.
pub(super) fn calibrating(id: &str, count: usize, seed: u64) -> Result<Vec<bool>, Box<dyn Error>> {
    if count < 2 {
        return Err(format!(
            "scanner {id}: expected two slides or more, one to fit and one to calibrate on, found {count}. A slide that \
             fitted the profile looks better to it than any other would"
        )
        .into());
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|&slide| Draw::new(seed).of(slide as u64).below(u64::MAX));
    let mut calibrates = vec![false; count];
    order.iter().take(count.div_ceil(2)).for_each(|&slide| calibrates[slide] = true);
    Ok(calibrates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn slides_follow_their_scanner() {
        let found = scanners(&words("a=1.svs 2.svs b=3.svs a=dir/x=4.svs ./c=5.svs")).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].slides, ["1.svs", "2.svs", "dir/x=4.svs", "./c=5.svs"].map(PathBuf::from));
        assert_eq!((found[1].id.as_str(), found[1].slides.len()), ("b", 1));
        assert!(scanners(&words("1.svs")).unwrap_err().to_string().contains("expected the scanner's id"));
    }

    #[test]
    fn a_slide_under_two_spellings_is_one() {
        let folder = std::env::temp_dir().join(format!("coverslip-given-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("sub")).unwrap();
        ["a.svs", "b.svs"].iter().for_each(|name| std::fs::write(folder.join(name), "").unwrap());
        let place = folder.display();
        let distinct = |text: String| distinct(&scanners(&words(&text)).unwrap()).map_err(|error| error.to_string());
        distinct(format!("x={place}/a.svs y={place}/sub/../b.svs")).unwrap();
        for scanner in ["", "y="] {
            let refused = distinct(format!("x={place}/a.svs {scanner}{place}/sub/../a.svs")).unwrap_err();
            assert!(refused.contains("expected each slide once") && refused.contains("sub/../a.svs"), "{refused}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn both_halves_have_slides_and_the_seed_decides() {
        for count in 2..9 {
            let halves = calibrating("a", count, 1).unwrap();
            assert_eq!(halves.iter().filter(|calibrates| **calibrates).count(), count.div_ceil(2));
        }
        assert_eq!(calibrating("a", 20, 1).unwrap(), calibrating("a", 20, 1).unwrap());
        assert_ne!(calibrating("a", 20, 1).unwrap(), calibrating("a", 20, 2).unwrap());
        assert!(calibrating("a", 1, 1).unwrap_err().to_string().contains("scanner a: expected two slides or more"));
    }
}
