//! What a file's directories may add up to. Each of them is held against the file's length, but thousands can name the
//! same bytes, so that their sum has no bound in it.

use std::cell::Cell;

/// Most directories of a file: 4096 images with seven smaller copies each.
const DIRECTORIES: u64 = 1 << 15;
/// Most tags of them: 32 each.
const TAGS: u64 = 1 << 20;
/// Most bytes of texts. The XML of a large plate or of a scanner that puts its label's picture there has some 10 MB.
const TEXTS: u64 = 64 << 20;
/// Most numbers of lists: where the tiles of the largest image are, how long they are, and small lists.
const NUMBERS: u64 = 40 << 20;

/// What is left of it.
pub(super) struct Allowance {
    directories: Cell<u64>,
    tags: Cell<u64>,
    texts: Cell<u64>,
    numbers: Cell<u64>,
}

impl Allowance {
    /// Of a file of which nothing has been read.
    pub(super) fn whole() -> Allowance {
        Allowance {
            directories: Cell::new(DIRECTORIES),
            tags: Cell::new(TAGS),
            texts: Cell::new(TEXTS),
            numbers: Cell::new(NUMBERS),
        }
    }

    /// Takes a directory of `tags` tags.
    ///
    /// # Errors
    /// Where the file has more than any slide.
    pub(super) fn directory(&self, tags: usize) -> Result<(), String> {
        take(&self.directories, 1, DIRECTORIES, "directories")?;
        take(&self.tags, tags as u64, TAGS, "tags in all directories")
    }

    /// Takes a text of so many bytes.
    ///
    /// # Errors
    /// As [`Allowance::directory`].
    pub(super) fn text(&self, bytes: u64) -> Result<(), String> {
        take(&self.texts, bytes, TEXTS, "bytes of text in all directories")
    }

    /// Takes so many numbers of a list.
    ///
    /// # Errors
    /// As [`Allowance::directory`].
    pub(super) fn numbers(&self, count: u64) -> Result<(), String> {
        take(&self.numbers, count, NUMBERS, "numbers in all directories")
    }
}

fn take(left: &Cell<u64>, wanted: u64, most: u64, what: &str) -> Result<(), String> {
    let rest = left.get().checked_sub(wanted).ok_or_else(|| {
        format!(
            "expected a TIFF with at most {most} {what}, found more: no scanner writes that. Copy the slide again from \
             where it came, or convert it"
        )
    })?;
    left.set(rest);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_bounded_and_not_their_parts_alone() {
        let allowance = Allowance::whole();
        allowance.text(TEXTS - 1).unwrap();
        allowance.text(1).unwrap();
        let refused = allowance.text(1).unwrap_err();
        assert!(refused.contains(&format!("at most {TEXTS} bytes of text")), "{refused}");
        allowance.directory(TAGS as usize).unwrap();
        assert!(allowance.directory(1).unwrap_err().contains("tags in all directories"));
        assert!(allowance.numbers(NUMBERS + 1).is_err());
        allowance.numbers(NUMBERS).unwrap();
    }
}
