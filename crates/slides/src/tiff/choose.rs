//! Which of a TIFF's images is the slide, and what the others are. Nothing is taken for the slide because it is large:
//! labels, macro pictures, thumbnails and smaller copies are told apart first, by their marks and their shape. Of
//! several specimens that are left, the largest is read unless another one is asked for, and all are named.

use std::collections::{BTreeMap, BTreeSet};

use super::container::Container;
use super::flavour::Flavour;
use super::image::Image;
use crate::description::{Associated, Mpp, Scene, Size};
use crate::mpp::{by_aperio, by_philips, by_tags, first_of};
use crate::ome::{self, OmeImage};

/// The largest difference of two images' width over height, for one to be a copy of the other.
const SAME_SHAPE: f64 = 0.02;

/// What an image of the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A specimen at its full size.
    Scene,
    /// A smaller copy of a scene, or another plane of it, by the scene's place among the images.
    CopyOf(usize),
    PlaneOf(usize),
    Associated(&'static str),
    Mask,
    /// Grey, or not described where images are described.
    Other(&'static str),
}

/// The choice, and what is said of it.
pub(super) struct Chosen {
    /// The place of the slide among the images.
    pub(super) image: usize,
    pub(super) levels: Vec<Size>,
    pub(super) scenes: Vec<Scene>,
    pub(super) associated: Vec<Associated>,
    pub(super) left_out: Vec<String>,
    pub(super) mpp: Result<Mpp, String>,
}

/// Chooses among the images of a file, of which there is at least one. `asked` is a scene's number.
///
/// # Errors
/// Where the scene that is asked for is not there; the others are named.
pub(super) fn choose(
    file: &Container,
    images: &[Image],
    flavour: Flavour,
    asked: Option<u32>,
) -> Result<Chosen, String> {
    let described = match flavour {
        Flavour::Ome => Some(ome::images(images[0].description.as_deref().unwrap_or_default())),
        _ => None,
    };
    let roles = match (&described, flavour) {
        (Some(Ok(described)), _) => ome_roles(images, described),
        (_, Flavour::Aperio) => aperio_roles(images),
        _ => plain_roles(images, flavour),
    };
    let all: Vec<usize> = (0..images.len()).filter(|&image| roles[image] == Role::Scene).collect();
    let largest = all.iter().copied().rev().max_by_key(|&image| area(images[image].size));
    let image = match asked {
        None => largest.unwrap_or(0),
        Some(number) => {
            *all.get((number as usize).wrapping_sub(1)).ok_or_else(|| no_such_scene(images, &all, number))?
        }
    };
    let scenes =
        all.iter().zip(1..).map(|(&scene, number)| Scene { number, size: images[scene].size, chosen: scene == image });
    let mut levels: Vec<Size> = (0..images.len())
        .filter(|&one| one == image || roles[one] == Role::CopyOf(image))
        .map(|one| images[one].size)
        .collect();
    levels.sort_by_key(|size| std::cmp::Reverse(area(*size)));
    Ok(Chosen {
        image,
        levels,
        scenes: if all.len() > 1 { scenes.collect() } else { Vec::new() },
        associated: associated(images, &roles),
        left_out: left_out(images, &roles, image),
        mpp: resolution(file, images, image, flavour, described),
    })
}

fn no_such_scene(images: &[Image], all: &[usize], number: u32) -> String {
    let names: Vec<String> = all
        .iter()
        .zip(1..)
        .map(|(&image, number)| format!("{number} ({} x {} px)", images[image].size.width, images[image].size.height))
        .collect();
    format!("--scene {number}: expected one of the file's scenes, {}", names.join(", "))
}

fn area(size: Size) -> u64 {
    u64::from(size.width) * u64::from(size.height)
}

/// Whether `small` may be a copy of `large` at a coarser resolution. A pixel more or less is rounding.
fn is_copy(small: Size, large: Size) -> bool {
    let ratio = |a: u32, b: u32, slack: f64| (f64::from(a) + slack) / f64::from(b).max(1.0);
    let (x, y) = (ratio(large.width, small.width, 0.0), ratio(large.height, small.height, 0.0));
    let rounding = 1.0 / f64::from(small.width.min(small.height));
    area(small) < area(large) && (x / y - 1.0).abs() < SAME_SHAPE + 2.0 * rounding
}

/// An associated image's role, by its own description.
fn by_text(image: &Image) -> Option<&'static str> {
    let text = image.description.as_deref()?;
    // Aperio's second line, Akoya's element, the first word of Philips and others.
    let aperio = text.lines().nth(1).filter(|_| text.starts_with("Aperio"));
    let akoya = text.split_once("<ImageType>").and_then(|(_, rest)| rest.split('<').next());
    let words = aperio.or(akoya).unwrap_or(text).trim_start();
    ["label", "macro", "thumbnail", "overview"].into_iter().find(|role| {
        let (first, rest) = words.split_at_checked(role.len()).unwrap_or_default();
        first.eq_ignore_ascii_case(role) && !rest.starts_with(|c: char| c.is_ascii_alphanumeric())
    })
}

/// The first image is the slide; tiled ones of its shape are copies, and strips are pictures beside it.
fn aperio_roles(images: &[Image]) -> Vec<Role> {
    let role = |(at, image): (usize, &Image)| match by_text(image) {
        _ if at == 0 => Role::Scene,
        Some(role) => Role::Associated(role),
        None if image.is_aperio_macro() => Role::Associated("macro"),
        None if image.tiled && is_copy(image.size, images[0].size) => Role::CopyOf(0),
        None if image.tiled => Role::Other("of another shape than the slide"),
        None if image.is_reduced() => Role::Associated("label"),
        None => Role::Associated("thumbnail"),
    };
    images.iter().enumerate().map(role).collect()
}

/// Images that are neither marked as something else nor copies of a larger one are specimens.
fn plain_roles(images: &[Image], flavour: Flavour) -> Vec<Role> {
    let any_colored = images.iter().any(|image| image.colored && by_text(image).is_none());
    let mut roles: Vec<Role> = images
        .iter()
        .map(|image| match by_text(image) {
            Some(role) => Role::Associated(role),
            None if image.is_mask() => Role::Mask,
            None if any_colored && !image.colored => Role::Other("not RGB"),
            None if flavour == Flavour::Philips && !image.tiled => Role::Associated("picture"),
            None => Role::Scene,
        })
        .collect();
    let mut by_size: Vec<usize> = (0..images.len()).filter(|&image| roles[image] == Role::Scene).collect();
    by_size.sort_by_key(|&image| {
        (images[image].is_reduced() || images[image].part, std::cmp::Reverse(area(images[image].size)))
    });
    let mut scenes: Vec<usize> = Vec::new();
    for image in by_size {
        let of_same = |scene: &&usize| !images[image].part || images[**scene].index == images[image].index;
        let original = scenes.iter().filter(of_same).find(|&&scene| is_copy(images[image].size, images[scene].size));
        match original {
            Some(&scene) => roles[image] = Role::CopyOf(scene),
            None if images[image].is_reduced() && !scenes.is_empty() => roles[image] = Role::Associated("thumbnail"),
            None if images[image].part && !scenes.is_empty() => roles[image] = Role::Other("a part of another image"),
            None => scenes.push(image),
        }
    }
    roles
}

/// Every image that the XML describes is a specimen, unless its name says what it is.
fn ome_roles(images: &[Image], described: &[OmeImage]) -> Vec<Role> {
    let mut roles = vec![Role::Other("not described by the OME-XML"); images.len()];
    let places = Places::of(images);
    // Of images that nothing describes yet, by their place in the chain: each is looked at once, however often a stranger's
    // text names it.
    let mut free: BTreeMap<usize, usize> = places.whole.clone();
    let mut firsts = BTreeSet::new();
    for one in described {
        let Some(first) = places.find(one) else { continue };
        let index = images[first].index;
        firsts.insert(index);
        free.remove(&index);
        roles[first] = one.role.map_or(Role::Scene, Role::Associated);
        for &(start, count) in &one.planes {
            let end = start.saturating_add(count);
            while let Some((&index, &at)) = free.range(start..end).next() {
                free.remove(&index);
                roles[at] = Role::PlaneOf(first);
            }
        }
    }
    for (at, image) in images.iter().enumerate().filter(|(_, image)| image.part && firsts.contains(&image.index)) {
        roles[at] = places.whole.get(&image.index).map_or(roles[at], |&first| Role::CopyOf(first));
    }
    // What is left of an overview beside the slide is an overview only where there is a slide.
    let scenes = roles.iter().filter(|role| **role == Role::Scene).count();
    if firsts.is_empty() || scenes == 0 { plain_roles(images, Flavour::Plain) } else { roles }
}

/// Where images are, by what a text says of them.
struct Places {
    /// Those that are no parts, by their place in the chain.
    whole: BTreeMap<usize, usize>,
    sizes: BTreeMap<(u32, u32), Vec<usize>>,
    /// Sizes of all.
    all: Vec<Size>,
}

impl Places {
    fn of(images: &[Image]) -> Places {
        let all = images.iter().map(|image| image.size).collect();
        let mut places = Places { whole: BTreeMap::new(), sizes: BTreeMap::new(), all };
        for (at, image) in images.iter().enumerate().filter(|(_, image)| !image.part) {
            places.whole.insert(image.index, at);
            places.sizes.entry((image.size.width, image.size.height)).or_default().push(at);
        }
        places
    }

    /// The place of a described image: its first directory if the size fits, else the only one of that size.
    fn find(&self, described: &OmeImage) -> Option<usize> {
        let first = described.planes.first().map_or(0, |(first, _)| *first);
        let fits = |at: &usize| described.size.is_none_or(|size| size == self.all[*at]);
        let of_size = || match self.sizes.get(&described.size.map(|size| (size.width, size.height))?)?.as_slice() {
            [only] => Some(*only),
            _ => None,
        };
        self.whole.get(&first).copied().filter(fits).or_else(of_size)
    }
}

fn associated(images: &[Image], roles: &[Role]) -> Vec<Associated> {
    let roles = images.iter().zip(roles);
    roles
        .filter_map(|(image, role)| match role {
            Role::Associated(role) => Some(Associated { role: (*role).to_owned(), size: image.size }),
            _ => None,
        })
        .collect()
}

fn left_out(images: &[Image], roles: &[Role], chosen: usize) -> Vec<String> {
    let mut left_out = Vec::new();
    let planes = roles.iter().filter(|role| **role == Role::PlaneOf(chosen)).count();
    if planes > 0 {
        left_out.push(format!("{planes} further planes of the same field"));
    }
    for (image, role) in images.iter().zip(roles) {
        let Size { width, height } = image.size;
        match role {
            Role::Mask => left_out.push(format!("a mask ({width} x {height} px)")),
            Role::Other(why) => left_out.push(format!("image {} ({width} x {height} px, {why})", image.index + 1)),
            _ => {}
        }
    }
    left_out
}

fn resolution(
    file: &Container,
    images: &[Image],
    chosen: usize,
    flavour: Flavour,
    described: Option<Result<Vec<OmeImage>, String>>,
) -> Result<Mpp, String> {
    let image = &images[chosen];
    let text = images[0].description.as_deref().unwrap_or_default();
    let said = match flavour {
        Flavour::Aperio => Some(by_aperio(text)),
        Flavour::Philips => Some(by_philips(text)),
        Flavour::Ome => described.map(|described| by_ome(images, chosen, &described?)),
        Flavour::Qptiff | Flavour::Plain => None,
    };
    let (resolution, unit) = image.resolution(file);
    first_of(said, by_tags(resolution, unit))
}

/// What the XML says of this very image.
fn by_ome(images: &[Image], chosen: usize, described: &[OmeImage]) -> Result<Mpp, String> {
    let Size { width, height } = images[chosen].size;
    let places = Places::of(images);
    let own = described.iter().find(|one| places.find(one) == Some(chosen));
    let own = own.ok_or(format!("the OME-XML describes no image of {width} x {height} px at this place"))?;
    let (x, y) = own.mpp.clone()?;
    Ok(Mpp { x, y, source: "OME-XML, PhysicalSizeX and PhysicalSizeY".into() })
}
