//! Which tiles and slides of a scanner do not belong to a profile of it: ink, dirt, blur, wrong light, and tissue that is
//! unlike all other. A profile made of them calls them normal.
//!
//! A tile is set aside by the general rules and by FOREIGN's score above 0, and later by the tails of NOVEL. A rule that
//! more than [`USUAL`] of the tiles of the middle slide break says nothing about single tiles: this scanner clips its
//! glass, or this stain is not H&E. A slide of which more than [`MOST_OF_A_SLIDE`] of the tiles are set aside for one
//! reason goes as a whole, and where more than [`MOST_SLIDES`] of the slides would go, the profile is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use coverslip_plugin_abi as abi;
use coverslip_profile::measurement;
use serde::{Deserialize, Serialize};

use super::sampler::{Sample, SampleTile};

/// A rule that the middle slide breaks on more than this share of its tiles is this scanner's way, or this stain's.
const USUAL: f64 = 0.2;
/// A slide with more than this share of its tiles set aside for one reason goes as a whole.
const MOST_OF_A_SLIDE: f64 = 0.25;
/// The largest share of a scanner's slides that may be set aside.
pub(super) const MOST_SLIDES: f64 = 0.25;
/// A tile is a tail of NOVEL from so many robust standard deviations above the median on.
const TAIL: f64 = 6.0;
/// A slide's median NOVEL is from so many robust standard deviations of the slides' medians on.
const SLIDE_TAIL: f64 = 5.0;
/// However alike the others are, a tail lies above their median by this share of it, and a slide's median by this.
const FARTHER: f64 = 0.5;
const SLIDE_FARTHER: f64 = 0.25;
/// Tiles that say what NOVEL is like, and tiles that a slide's median takes.
const FEWEST_NOVEL: usize = 100;
const FEWEST_OF_A_SLIDE: usize = 10;
/// Slides whose medians say what slides are like.
const FEWEST_MEDIANS: usize = 6;
/// From the median absolute deviation to a normal's standard deviation.
const MAD_TO_SD: f64 = 1.482_602_218_505_602;

/// Why a tile does not belong.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Why {
    Foreign,
    OutOfFocus,
    Underexposed,
    Overexposed,
    Novel,
}

impl Why {
    const OF_PIXELS: [Why; 4] = [Why::Foreign, Why::OutOfFocus, Why::Underexposed, Why::Overexposed];

    pub(super) fn says(self) -> &'static str {
        match self {
            Why::Foreign => "ink, dirt or an edge",
            Why::OutOfFocus => "out of focus",
            Why::Underexposed => "too little light",
            Why::Overexposed => "too much light",
            Why::Novel => "unlike all other tissue",
        }
    }

    /// Whether a tile breaks the rule.
    fn holds(self, tile: &SampleTile) -> bool {
        let flag = match self {
            Why::Foreign => return tile.measurements[measurement::FOREIGN] > 0.0,
            Why::OutOfFocus => abi::FLAG_OUT_OF_FOCUS,
            Why::Underexposed => abi::FLAG_UNDEREXPOSED,
            Why::Overexposed => abi::FLAG_OVEREXPOSED,
            Why::Novel => return false,
        };
        tile.flags & flag != 0
    }
}

/// A tile that was set aside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Strange {
    pub(super) place: (i32, i32),
    /// Left, top, width, height on the slide, px.
    pub(super) area: [i64; 4],
    pub(super) why: Why,
}

/// What was found on one slide.
#[derive(Clone, Debug, Default)]
pub(super) struct SlideFindings {
    pub(super) name: String,
    pub(super) tiles: usize,
    pub(super) strange: Vec<Strange>,
    /// The slide goes as a whole, for this reason on this share of its tiles.
    pub(super) whole: Option<(Why, f64)>,
}

/// What was found on a scanner's slides, in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Screening {
    pub(super) slides: Vec<SlideFindings>,
    /// Rules that this scanner's tiles break as a rule.
    pub(super) usual: BTreeSet<Why>,
}

impl Screening {
    /// Looks at the tiles' pixels.
    pub(super) fn by_pixels(samples: &[Sample]) -> Screening {
        let shares = |why: Why| -> Vec<f64> {
            let with_tiles = samples.iter().filter(|sample| !sample.tiles.is_empty());
            with_tiles.map(|sample| share(sample.tiles.iter().filter(|tile| why.holds(tile)).count(), sample)).collect()
        };
        let usual: BTreeSet<Why> = Why::OF_PIXELS.into_iter().filter(|&why| median(&shares(why)) > USUAL).collect();
        let far = far_foreign(samples);
        let why_of = |tile: &SampleTile| {
            Why::OF_PIXELS.into_iter().find(|why| match (why, usual.contains(why)) {
                (_, false) => why.holds(tile),
                // Another stain than H&E: what is far from its own colours.
                (Why::Foreign, true) => f64::from(tile.measurements[measurement::FOREIGN]) > far,
                _ => false,
            })
        };
        let mut slides: Vec<SlideFindings> = samples.iter().map(|sample| on_slide(sample, why_of)).collect();
        slides.iter_mut().for_each(SlideFindings::settle);
        Screening { slides, usual }
    }

    /// Adds the tails of NOVEL: the length of each kept tile's displacement, by slide. `halves`: which slides calibrate;
    /// the tiles that fitted look more usual, so that each half is held against itself.
    pub(super) fn add_novel(&mut self, samples: &[Sample], novel: &[Vec<f64>], halves: &[bool]) {
        for half in [false, true] {
            let of_half: Vec<usize> = (0..samples.len()).filter(|&slide| halves[slide] == half).collect();
            let all: Vec<f64> = of_half.iter().flat_map(|&slide| novel[slide].iter().copied()).collect();
            if all.len() < FEWEST_NOVEL {
                continue;
            }
            let (middle, spread) = robust(&all);
            let limit = middle + (TAIL * spread).max(FARTHER * middle);
            let has_median = |slide: usize| novel[slide].len() >= FEWEST_OF_A_SLIDE;
            let medians: Vec<f64> =
                of_half.iter().filter(|&&slide| has_median(slide)).map(|&slide| median(&novel[slide])).collect();
            let (slides_middle, slides_spread) = robust(&medians);
            // Slides that are all alike differ by chance alone.
            let slide_spread = SLIDE_TAIL * slides_spread.max(spread / 4.0);
            let slide_limit = slides_middle + slide_spread.max(SLIDE_FARTHER * slides_middle);
            for slide in of_half {
                let found = &mut self.slides[slide];
                let far = samples[slide].tiles.iter().zip(&novel[slide]).filter(|(_, length)| **length > limit);
                found.strange.extend(far.map(|(tile, _)| strange(tile, Why::Novel)));
                let of_enough = medians.len() >= FEWEST_MEDIANS && has_median(slide) && found.whole.is_none();
                if of_enough && median(&novel[slide]) > slide_limit {
                    found.whole = Some((Why::Novel, 1.0));
                    found.strange = samples[slide].tiles.iter().map(|tile| strange(tile, Why::Novel)).collect();
                }
                found.settle();
            }
        }
    }

    /// Where one scanner's slide goes, so do the others' of the same specimen: pairs are made of what all have.
    pub(super) fn pair(all: &mut [Screening]) {
        let slides = all.iter().map(|one| one.slides.len()).min().unwrap_or(0);
        for slide in 0..slides {
            let whole = all.iter().find_map(|one| one.slides[slide].whole);
            all.iter_mut().for_each(|one| one.slides[slide].whole = one.slides[slide].whole.or(whole));
        }
    }

    /// Tiles and slides that are set aside.
    pub(super) fn count(&self) -> usize {
        self.slides.iter().map(|slide| slide.strange.len() + usize::from(slide.whole.is_some())).sum()
    }

    /// The slides that go as a whole.
    pub(super) fn whole(&self) -> impl Iterator<Item = &SlideFindings> {
        self.slides.iter().filter(|slide| slide.whole.is_some())
    }

    /// Refuses a profile of slides most of which are strange.
    ///
    /// # Errors
    /// Names the slides, and what to do.
    pub(super) fn accept(&self, scanner: &str) -> Result<(), Box<dyn Error>> {
        let count = self.whole().count();
        if count as f64 <= MOST_SLIDES * self.slides.len() as f64 {
            return Ok(());
        }
        let why = |slide: &SlideFindings| {
            slide
                .whole
                .map(|(why, share)| format!("{} ({} on {:.0} % of its tiles)", slide.name, why.says(), 100.0 * share))
        };
        let named: Vec<String> = self.whole().filter_map(why).collect();
        Err(format!(
            "scanner {scanner}: expected at most {:.0} % of the slides to be unlike good slides, found {count} of {}: {}. \
             Look at them; leave them out of --scanner and give others, or say --keep-all if this scanner's slides are \
             like that",
            100.0 * MOST_SLIDES,
            self.slides.len(),
            named.join(", ")
        )
        .into())
    }

    /// The samples without what was set aside. A slide that goes as a whole stays, without tiles: its place among the
    /// slides pairs it with those of other scanners.
    pub(super) fn kept(&self, samples: &[Sample]) -> Vec<Sample> {
        samples.iter().zip(&self.slides).map(|(sample, found)| found.kept(sample)).collect()
    }

    /// What a profile says of it.
    pub(super) fn told(&self) -> Told {
        let mut by_reason: BTreeMap<Why, usize> = BTreeMap::new();
        for strange in self.slides.iter().filter(|slide| slide.whole.is_none()).flat_map(|slide| &slide.strange) {
            *by_reason.entry(strange.why).or_default() += 1;
        }
        Told {
            slides: self
                .whole()
                .filter_map(|slide| slide.whole.map(|(why, share)| ToldSlide { slide: slide.name.clone(), why, share }))
                .collect(),
            tiles: by_reason,
            of_slides: self.slides.len(),
            of_tiles: self.slides.iter().map(|slide| slide.tiles).sum(),
            usual: self.usual.iter().copied().collect(),
        }
    }
}

impl SlideFindings {
    /// Whether so many tiles are strange that the slide goes.
    fn settle(&mut self) {
        if self.whole.is_some() || self.tiles == 0 {
            return;
        }
        let mut counts: BTreeMap<Why, usize> = BTreeMap::new();
        self.strange.iter().for_each(|strange| *counts.entry(strange.why).or_default() += 1);
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        self.whole = most
            .map(|(why, count)| (why, count as f64 / self.tiles as f64))
            .filter(|(_, share)| *share > MOST_OF_A_SLIDE);
    }

    /// A sample of this slide, or a changed copy of it, without what was set aside.
    pub(super) fn kept(&self, sample: &Sample) -> Sample {
        let strange: BTreeSet<(i32, i32)> = self.strange.iter().map(|strange| strange.place).collect();
        let keeps = |tile: &&SampleTile| self.whole.is_none() && !strange.contains(&tile.place);
        let tiles: Vec<SampleTile> = sample.tiles.iter().filter(keeps).cloned().collect();
        let analysed = sample.analysed * tiles.len() / sample.tiles.len().max(1);
        Sample { tiles, analysed, ..sample.clone() }
    }
}

/// What a profile says of what was set aside, for one scanner.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Told {
    pub(super) slides: Vec<ToldSlide>,
    /// Tiles of the other slides, by reason.
    pub(super) tiles: BTreeMap<Why, usize>,
    pub(super) of_slides: usize,
    pub(super) of_tiles: usize,
    pub(super) usual: Vec<Why>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct ToldSlide {
    pub(super) slide: String,
    pub(super) why: Why,
    pub(super) share: f64,
}

fn on_slide(sample: &Sample, why_of: impl Fn(&SampleTile) -> Option<Why>) -> SlideFindings {
    let found = sample.tiles.iter().filter_map(|tile| Some(strange(tile, why_of(tile)?)));
    SlideFindings { name: sample.name.clone(), tiles: sample.tiles.len(), strange: found.collect(), whole: None }
}

fn strange(tile: &SampleTile, why: Why) -> Strange {
    Strange { place: tile.place, area: tile.area, why }
}

fn share(count: usize, sample: &Sample) -> f64 {
    count as f64 / sample.tiles.len() as f64
}

/// The FOREIGN score from which a tile is far from most tiles' colours.
fn far_foreign(samples: &[Sample]) -> f64 {
    let scores: Vec<f64> = samples
        .iter()
        .flat_map(|sample| &sample.tiles)
        .map(|tile| f64::from(tile.measurements[measurement::FOREIGN]))
        .filter(|score| score.is_finite())
        .collect();
    let (middle, spread) = robust(&scores);
    middle + TAIL * spread
}

/// Median, and standard deviation by the median absolute deviation.
pub(super) fn robust(values: &[f64]) -> (f64, f64) {
    let middle = median(values);
    (middle, MAD_TO_SD * median(&values.iter().map(|value| (value - middle).abs()).collect::<Vec<_>>()))
}

/// The middle value, the lower of two; NaN of none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    if sorted.is_empty() { f64::NAN } else { sorted[(sorted.len() - 1) / 2] }
}

#[cfg(test)]
mod tests {
    use coverslip_profile::MEASUREMENTS;

    use super::*;

    /// A slide of 40 tiles, of which the first `odd` have `score` as FOREIGN and the others −0.01.
    fn slide(name: &str, odd: usize, score: f32, flags: u32) -> Sample {
        let tile = |place: usize| {
            let mut measurements = [0.0; MEASUREMENTS];
            measurements[measurement::FOREIGN] = if place < odd { score } else { -0.01 };
            SampleTile {
                place: (place as i32, 0),
                area: [0; 4],
                measurements,
                embedding: vec![],
                features: vec![],
                reconstruction_error: 0.0,
                flags: if place < odd { flags } else { 0 },
            }
        };
        Sample { name: name.into(), tiles: (0..40).map(tile).collect(), analysed: 40, all_tiles: 40 }
    }

    fn names(screening: &Screening) -> Vec<&str> {
        screening.whole().map(|slide| slide.name.as_str()).collect()
    }

    #[test]
    fn an_inked_slide_goes_and_a_speck_takes_its_tile_alone() {
        let samples = [slide("a", 0, 0.0, 0), slide("inked", 30, 0.2, 0), slide("c", 2, 0.1, 0), slide("d", 0, 0.0, 0)];
        let screening = Screening::by_pixels(&samples);
        assert_eq!(names(&screening), ["inked"]);
        assert!(screening.accept("s").is_ok());
        let kept = screening.kept(&samples);
        assert_eq!(kept.iter().map(|sample| sample.tiles.len()).collect::<Vec<_>>(), [40, 0, 38, 40]);
        let told = screening.told();
        assert_eq!((told.slides.len(), told.tiles[&Why::Foreign], told.of_tiles), (1, 2, 160));
        assert!((told.slides[0].share - 0.75).abs() < 1e-9 && told.usual.is_empty());
    }

    #[test]
    fn too_many_strange_slides_are_refused_by_name() {
        let samples = [slide("a", 0, 0.0, 0), slide("b", 30, 0.2, 0), slide("c", 30, 0.0, abi::FLAG_OUT_OF_FOCUS)];
        let refused = Screening::by_pixels(&samples).accept("lab-1").unwrap_err().to_string();
        assert!(refused.contains("scanner lab-1") && refused.contains("found 2 of 3: b (ink"), "{refused}");
        assert!(
            refused.contains("c (out of focus on 75 % of its tiles)") && refused.contains("--keep-all"),
            "{refused}"
        );
    }

    /// DAB is outside H&E's colours on every tile, and some scanners clip their glass.
    #[test]
    fn what_most_slides_do_is_no_fault_of_one() {
        let mut samples: Vec<Sample> =
            (0..4).map(|i| slide(&format!("dab{i}"), 36, 0.08, abi::FLAG_OVEREXPOSED)).collect();
        // Spread the scores a little, so that they have a width.
        for (number, tile) in samples.iter_mut().flat_map(|sample| &mut sample.tiles).enumerate() {
            tile.measurements[measurement::FOREIGN] += 0.001 * (number % 7) as f32;
        }
        samples[2].tiles[5].measurements[measurement::FOREIGN] = 0.5;
        let screening = Screening::by_pixels(&samples);
        assert!(names(&screening).is_empty() && screening.usual.contains(&Why::Foreign));
        assert!(screening.usual.contains(&Why::Overexposed));
        assert_eq!(screening.slides[2].strange.iter().map(|s| s.place.0).collect::<Vec<_>>(), [5]);
    }

    #[test]
    fn a_slide_of_other_tissue_is_a_tail_and_alike_slides_are_not() {
        let samples: Vec<Sample> = (0..16).map(|i| slide(&format!("s{i}"), 0, 0.0, 0)).collect();
        let halves: Vec<bool> = (0..16).map(|i| i % 2 == 0).collect();
        let novel = |other: f64| -> Vec<Vec<f64>> {
            let wobble = |slide: usize, tile: usize| ((slide * 31 + tile * 17) % 23) as f64 / 10.0;
            let add = |slide: usize| if slide == 4 { other } else { 0.0 };
            (0..16).map(|s| (0..40).map(|t| 20.0 + wobble(s, t) + add(s)).collect()).collect()
        };
        let mut screening = Screening::by_pixels(&samples);
        screening.add_novel(&samples, &novel(0.0), &halves);
        assert!(screening.slides.iter().all(|slide| slide.whole.is_none() && slide.strange.is_empty()));
        let mut screening = Screening::by_pixels(&samples);
        screening.add_novel(&samples, &novel(8.0), &halves);
        assert_eq!(names(&screening), ["s4"]);
    }
}
