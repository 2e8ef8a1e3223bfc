//! The geometric median: the start of `b_dec`, which a few far points move less than a mean.

/// The point with the smallest sum of distances to the rows of `x` \[n, width\], by Weiszfeld's iteration from the mean.
///
/// Ends when a step is below 10⁻⁵ of the rows' mean distance, or after 100 steps. No rows: zeros.
pub fn geometric_median(x: &[f32], width: usize) -> Vec<f32> {
    let rows: Vec<&[f32]> = x.chunks_exact(width).collect();
    let mut guess = vec![0.0_f64; width];
    for row in &rows {
        guess.iter_mut().zip(*row).for_each(|(sum, value)| *sum += f64::from(*value) / rows.len() as f64);
    }
    for _ in 0..100 {
        let (mut next, mut weights, mut distances) = (vec![0.0; width], 0.0, 0.0);
        for row in &rows {
            let square: f64 = row.iter().zip(&guess).map(|(value, guess)| (f64::from(*value) - guess).powi(2)).sum();
            // A row that is the guess itself would have an infinite weight.
            let distance = square.sqrt().max(1e-12);
            next.iter_mut().zip(*row).for_each(|(sum, value)| *sum += f64::from(*value) / distance);
            weights += 1.0 / distance;
            distances += distance;
        }
        if weights == 0.0 {
            break;
        }
        next.iter_mut().for_each(|value| *value /= weights);
        let moved: f64 = next.iter().zip(&guess).map(|(a, b)| (a - b).powi(2)).sum();
        guess = next;
        if moved.sqrt() <= 1e-5 * distances / rows.len() as f64 {
            break;
        }
    }
    guess.into_iter().map(|value| value as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_points_do_not_move_it() {
        // On a line it is the median; three points of four at 1 hold it there wherever the fourth is.
        let found = geometric_median(&[1.0, 1.0, 1.0, 1000.0], 1);
        assert!((found[0] - 1.0).abs() < 1e-3, "{found:?}");
        // An equilateral triangle has its centre.
        let found = geometric_median(&[0.0, 0.0, 1.0, 0.0, 0.5, 0.75_f32.sqrt()], 2);
        assert!((found[0] - 0.5).abs() < 1e-4 && (found[1] - 0.288_675_1).abs() < 1e-4, "{found:?}");
        assert_eq!(geometric_median(&[], 2), [0.0, 0.0]);
    }
}
