//! Frames of any format as 8-bit RGB, for `tools/pixels`, which compares them with NumPy.
//!
//! On stdin, again and again: a line of numbers (PFNC code, width, height, stride, bytes of a plane, black, white, gamma,
//! 3 of the white balance, 9 of the matrix, length of the table), then the table, then the planes. On stdout the RGB.
//! With `--time`: nanoseconds per pixel of each format on frames of 512 x 512.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::hint::black_box;
use std::io::{BufRead, Read, Write, stdin, stdout};
use std::sync::Arc;
use std::time::Instant;

use coverslip_pixels::developer::{Developer, Source};
use coverslip_pixels::format::PixelFormat;
use coverslip_pixels::image::{Image, Plane};
use coverslip_pixels::tone::{Tone, ToneSpec};

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).is_some_and(|option| option == "--time") {
        return time();
    }
    let (mut input, mut output) = (stdin().lock(), stdout().lock());
    let mut line = String::new();
    while input.read_line(&mut line)? > 0 {
        let numbers: Vec<f64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [code, width, height, stride, size] = std::array::from_fn(|at| numbers[at] as usize);
        let mut spec = ToneSpec { black: numbers[5], white: numbers[6], gamma: numbers[7], ..ToneSpec::default() };
        spec.balance.copy_from_slice(&numbers[8..11]);
        spec.matrix.copy_from_slice(&numbers[11..20]);
        spec.table.resize(numbers[20] as usize, 0);
        input.read_exact(&mut spec.table)?;
        let format = PixelFormat::from_pfnc(code as u32).ok_or("a code of coverslip.h")?;
        let mut bytes = vec![0; size * format.planes() as usize];
        input.read_exact(&mut bytes)?;
        let plane = |at: usize| Plane { bytes: &bytes[at % format.planes() as usize * size..][..size], stride };
        let image = Image { format, width, height, planes: [plane(0), plane(1), plane(2)] };
        let mut developer = Developer::new(Arc::new(Tone::new(&spec)?), width)?;
        output.write_all(&develop(&mut developer, image))?;
        output.flush()?;
        line.clear();
    }
    Ok(())
}

fn develop(developer: &mut Developer, image: Image<'_>) -> Vec<u8> {
    let source = Source {
        image: Some(image),
        kept: None,
        format: image.format,
        width: image.width,
        validity: Default::default(),
        channel: None,
    };
    developer.begin(0, image.width);
    let mut rgb = vec![0; 3 * image.width * image.height];
    for (y, row) in rgb.chunks_exact_mut(3 * image.width).enumerate() {
        developer.row(&source, y as isize).copy(0, image.width, row);
    }
    rgb
}

fn time() -> Result<(), Box<dyn Error>> {
    let bytes: Vec<u8> = (0..8 * 512 * 512u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
    for (_, name, format) in PixelFormat::all() {
        let stride = format.row_bytes(512) as usize;
        let image = Image { format, width: 512, height: 512, planes: [Plane { bytes: &bytes, stride }; 3] };
        let mut developer = Developer::new(Arc::new(Tone::new(&ToneSpec::default())?), 512)?;
        let mut best = f64::MAX;
        for _ in 0..20 {
            let start = Instant::now();
            black_box(develop(&mut developer, black_box(image)));
            best = best.min(start.elapsed().as_nanos() as f64 / (512.0 * 512.0));
        }
        println!("{name:16} {best:.2} ns per pixel");
    }
    Ok(())
}
