//! Which features are active: the choice that makes an autoencoder sparse.

/// An active feature of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Entry {
    /// The feature.
    pub(super) feature: u32,
    /// Its activation.
    pub(super) value: f32,
}

/// The active features of each row of a batch, in the order of their numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Active {
    /// Entries of row r: `starts[r] .. starts[r + 1]`.
    pub(super) starts: Vec<usize>,
    pub(super) entries: Vec<Entry>,
}

impl Active {
    /// Takes the rows' entries one after the other.
    pub(super) fn of_rows(rows: impl IntoIterator<Item = Vec<Entry>>) -> Self {
        let mut active = Self { starts: vec![0], entries: Vec::new() };
        for row in rows {
            active.entries.extend(row);
            active.starts.push(active.entries.len());
        }
        active
    }

    /// Rows.
    pub(super) fn rows(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// The active features of a row.
    pub(super) fn row(&self, row: usize) -> &[Entry] {
        &self.entries[self.starts[row]..self.starts[row + 1]]
    }

    /// The active features of all rows one after the other: where each row's end, their numbers, their values.
    pub fn columns(&self) -> (Vec<usize>, Vec<u32>, Vec<f32>) {
        let of = |entry: &Entry| (entry.feature, entry.value);
        let (index, value) = self.entries.iter().map(of).unzip();
        (self.starts.iter().skip(1).copied().collect(), index, value)
    }

    /// Active features of all rows.
    pub(super) fn count(&self) -> usize {
        self.entries.len()
    }
}

/// The k largest of the positive values among those that `allowed` admits, in the order of their places.
///
/// Values are compared with the smallest that was kept, sixteen at a time: with k of m kept, a later one is seldom larger.
#[inline(always)]
pub(super) fn largest(values: &[f32], k: usize, allowed: impl Fn(usize) -> bool) -> Vec<Entry> {
    let mut kept: Vec<Entry> = Vec::with_capacity(k.min(values.len()) + 1);
    if k == 0 {
        return kept;
    }
    // A value is kept if it exceeds this. Until k are kept it is 0: ReLU.
    let mut bar = 0.0_f32;
    let mut weakest = 0;
    for (block, chunk) in values.chunks(16).enumerate() {
        if chunk.iter().fold(f32::NEG_INFINITY, |most, value| most.max(*value)) <= bar {
            continue;
        }
        for (at, value) in chunk.iter().enumerate() {
            let place = block * 16 + at;
            if *value <= bar || !allowed(place) {
                continue;
            }
            let entry = Entry { feature: place as u32, value: *value };
            if kept.len() < k {
                kept.push(entry);
            } else {
                kept[weakest] = entry;
            }
            if kept.len() == k {
                // The first of equals stays, the last is replaced: lower numbers win, as in a stable sort.
                weakest = (0..k).rev().min_by(|a, b| order(&kept[*a], &kept[*b])).unwrap_or(0);
                bar = kept[weakest].value;
            }
        }
    }
    kept.sort_unstable_by_key(|entry| entry.feature);
    kept
}

/// Smaller values first; of equal ones the higher number.
fn order(a: &Entry, b: &Entry) -> std::cmp::Ordering {
    a.value.total_cmp(&b.value).then(b.feature.cmp(&a.feature))
}

/// Every value above its threshold.
#[inline(always)]
pub(super) fn above(values: &[f32], threshold: impl Fn(usize) -> f32) -> Vec<Entry> {
    let mut kept = Vec::new();
    for (place, value) in values.iter().enumerate() {
        if *value > threshold(place) {
            kept.push(Entry { feature: place as u32, value: *value });
        }
    }
    kept
}

/// The smallest of the `count` largest positive values of a whole batch: the least activation. 0 where fewer are
/// positive.
pub(super) fn batch_bar(values: &[f32], count: usize) -> f32 {
    let mut positive: Vec<f32> = values.iter().copied().filter(|value| *value > 0.0).collect();
    if positive.len() <= count || count == 0 {
        return 0.0;
    }
    let place = positive.len() - count;
    *positive.select_nth_unstable_by(place, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(entries: &[Entry]) -> Vec<u32> {
        entries.iter().map(|entry| entry.feature).collect()
    }

    #[test]
    fn the_largest_are_those_of_a_sort() {
        let mut state = 1_u64;
        for (m, k) in [(5, 2), (40, 7), (100, 32), (33, 40), (64, 1), (16, 0)] {
            let values: Vec<f32> = (0..m)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    ((state >> 58) as f32) - 20.0
                })
                .collect();
            let mut sorted: Vec<usize> = (0..m).filter(|i| values[*i] > 0.0 && i % 3 != 1).collect();
            sorted.sort_by(|a, b| values[*b].total_cmp(&values[*a]).then(a.cmp(b)));
            sorted.truncate(k);
            sorted.sort_unstable();
            let found = features(&largest(&values, k, |i| i % 3 != 1));
            assert_eq!(found, sorted.iter().map(|i| *i as u32).collect::<Vec<_>>(), "m {m} k {k} of {values:?}");
        }
    }

    #[test]
    fn a_batch_has_one_bar() {
        assert_eq!(batch_bar(&[3.0, -1.0, 2.0, 5.0, 0.5], 2), 3.0);
        assert_eq!(batch_bar(&[3.0, -1.0], 2), 0.0);
        assert_eq!(features(&above(&[0.0, 2.0, 3.0, 3.1], |i| if i == 3 { 4.0 } else { 2.0 })), [2]);
    }
}
