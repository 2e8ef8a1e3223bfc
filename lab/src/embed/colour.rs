//! What a tile looks like before any model sees it: its mean colour, and how much of it is haematoxylin. Later analyses take
//! both out of what they claim of a feature.

/// Haematoxylin's row of the inverse of Ruifrok and Johnston's stain matrix (Analytical and Quantitative Cytology and
/// Histology 23, 2001; as in scikit-image's `hed_from_rgb`), for optical densities −log10(level / 255) of R, G and B.
const HAEMATOXYLIN: [f32; 3] = [1.877_983, -0.065_908, -0.601_907];
/// Bins of haematoxylin's density, over 0 to `DENSEST`.
const BINS: usize = 64;
const DENSEST: f32 = 1.6;
/// Less is no nucleus, however pale the slide.
const PALEST: f32 = 0.15;

/// Of one tile.
#[derive(Clone, Debug)]
pub(super) struct TileColour {
    sums: [u64; 3],
    pixels: u64,
    /// Pixels by the density of haematoxylin.
    density: [u32; BINS],
}

impl Default for TileColour {
    fn default() -> Self {
        Self { sums: [0; 3], pixels: 0, density: [0; BINS] }
    }
}

/// What each level of R, G and B adds to a pixel's haematoxylin, in bins.
pub(super) struct Densities([[f32; 256]; 3]);

impl Densities {
    pub(super) fn new() -> Self {
        let bins = |level: usize| -(level.max(1) as f32 / 255.0).log10() * (BINS as f32 / DENSEST);
        Self(HAEMATOXYLIN.map(|h| std::array::from_fn(|level| h * bins(level))))
    }
}

impl TileColour {
    /// Adds RGB pixels.
    pub(super) fn add(&mut self, pixels: &[u8], densities: &Densities) {
        let ([red, green, blue], mut sums) = (&densities.0, [0u64; 3]);
        for &[r, g, b] in pixels.as_chunks::<3>().0 {
            sums[0] += u64::from(r);
            sums[1] += u64::from(g);
            sums[2] += u64::from(b);
            // A negative one becomes 0.
            let bin = (red[usize::from(r)] + green[usize::from(g)] + blue[usize::from(b)]) as usize;
            self.density[bin.min(BINS - 1)] += 1;
        }
        self.sums.iter_mut().zip(sums).for_each(|(all, these)| *all += these);
        self.pixels += pixels.len() as u64 / 3;
    }

    /// Mean R, G, B, 0..255; NaN without a pixel.
    pub(super) fn mean(&self) -> [f64; 3] {
        self.sums.map(|sum| sum as f64 / self.pixels as f64)
    }

    /// Share of the pixels whose haematoxylin is at least that of `nuclei`, 0..1; NaN without a pixel.
    pub(super) fn haematoxylin_area(&self, nuclei: Nuclei) -> f64 {
        let above: u64 = self.density[nuclei.0..].iter().map(|count| u64::from(*count)).sum();
        above as f64 / self.pixels as f64
    }
}

/// From which bin on an input's pixels count as nuclei.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Nuclei(usize);

impl Nuclei {
    /// Otsu's threshold of all pixels of an input: what stains darkly on one slide is pale on another.
    pub(super) fn of<'t>(tiles: impl Iterator<Item = &'t TileColour>) -> Self {
        let mut all = [0u64; BINS];
        for tile in tiles {
            all.iter_mut().zip(&tile.density).for_each(|(sum, count)| *sum += u64::from(*count));
        }
        let count: u64 = all.iter().sum();
        let total: f64 = all.iter().enumerate().map(|(bin, count)| bin as f64 * *count as f64).sum();
        let (mut below, mut sum, mut best) = (0u64, 0.0, (0.0, 0));
        for (bin, here) in all.iter().enumerate().take(BINS - 1) {
            below += here;
            sum += bin as f64 * *here as f64;
            let above = count - below;
            if below > 0 && above > 0 {
                let apart = sum / below as f64 - (total - sum) / above as f64;
                let between = below as f64 * above as f64 * apart * apart;
                if between > best.0 {
                    best = (between, bin + 1);
                }
            }
        }
        Self(best.1.max((PALEST / DENSEST * BINS as f32) as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pixels of these colours, so many of each.
    fn tile(colours: &[([u8; 3], usize)]) -> TileColour {
        let pixels: Vec<u8> = colours.iter().flat_map(|(colour, count)| colour.repeat(*count)).collect();
        let mut tile = TileColour::default();
        tile.add(&pixels, &Densities::new());
        tile
    }

    const NUCLEUS: [u8; 3] = [90, 60, 140];
    const EOSIN: [u8; 3] = [225, 150, 190];
    const GLASS: [u8; 3] = [245, 244, 246];

    #[test]
    fn nuclei_are_counted_on_dark_and_on_pale_slides() {
        let dark = [tile(&[(NUCLEUS, 30), (EOSIN, 50), (GLASS, 20)]), tile(&[(EOSIN, 100)])];
        let nuclei = Nuclei::of(dark.iter());
        assert_eq!([0, 1].map(|i| dark[i].haematoxylin_area(nuclei)), [0.3, 0.0]);
        let pale = [tile(&[([150, 130, 180], 25), (EOSIN, 75)])];
        assert_eq!(pale[0].haematoxylin_area(Nuclei::of(pale.iter())), 0.25);
        // Eosin and glass alone have a threshold too, but no nuclei.
        let none = [tile(&[(EOSIN, 50), (GLASS, 50)])];
        assert_eq!(none[0].haematoxylin_area(Nuclei::of(none.iter())), 0.0);
    }

    #[test]
    fn the_mean_is_that_of_the_pixels_and_no_pixel_has_none() {
        assert_eq!(tile(&[([0, 10, 255], 1), ([100, 30, 255], 1)]).mean(), [50.0, 20.0, 255.0]);
        let empty = TileColour::default();
        assert!(empty.mean()[0].is_nan() && empty.haematoxylin_area(Nuclei(3)).is_nan());
    }
}
