//! Buffers that stand in for the host's, with canaries around them: what the library writes beside them is seen, and the
//! host's own are written only as far as there is something for them.

/// Bytes before and after each buffer.
const CANARY: usize = 64;
const SONG: u8 = 0xc5;

pub(crate) struct Guarded {
    memory: Vec<u64>,
    bytes: usize,
}

impl Guarded {
    pub(crate) fn new(bytes: usize) -> Guarded {
        let words = (bytes + 2 * CANARY).div_ceil(8);
        let mut guarded = Guarded { memory: vec![0; words], bytes };
        let song = u64::from_ne_bytes([SONG; 8]);
        guarded.memory[..CANARY / 8].fill(song);
        let after = CANARY / 8 + bytes / 8;
        guarded.memory[after..].fill(song);
        guarded
    }

    pub(crate) fn pointer<T>(&mut self) -> *mut T {
        self.memory[CANARY / 8..].as_mut_ptr().cast()
    }

    /// Whether the canaries live.
    pub(crate) fn is_sound(&self) -> bool {
        let song = u64::from_ne_bytes([SONG; 8]);
        let after = CANARY / 8 + self.bytes.div_ceil(8);
        self.memory[..CANARY / 8].iter().chain(&self.memory[after..]).all(|word| *word == song)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_beside_the_buffer_is_seen() {
        let mut guarded = Guarded::new(24);
        let start: *mut u64 = guarded.pointer();
        assert!(guarded.is_sound());
        for at in [0, 1, 2] {
            // SAFETY: 24 bytes are three words.
            unsafe { start.add(at).write(9) };
            assert!(guarded.is_sound());
        }
        // SAFETY: the canaries are memory of the same vector.
        unsafe { start.add(3).write(9) };
        assert!(!guarded.is_sound());
    }
}
