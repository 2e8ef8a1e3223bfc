//! The rules that a host can break, each with the header's own sentence.

/// A rule of the contract.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    /// As `coverslip.h` has it.
    pub(crate) sentence: &'static str,
}

macro_rules! rules {
    ($($name:ident $text:literal $sentence:literal;)*) => {
        $(pub(crate) const $name: Rule = Rule { name: $text, sentence: $sentence };)*
        #[cfg(test)]
        const ALL: &[Rule] = &[$($name),*];
    };
}

rules! {
    STRUCT_SIZE "struct-size" "Each begins with `struct_size`, which the host sets to sizeof.";
    RECORD_SIZE "record-size" "INVALID_STRUCT: a size below that of 1.0, inside a field, or not a multiple of 8.";
    ONE_SUBMIT_THREAD "one-submit-thread" "may be called on one thread at a time per slide";
    LOG_CALLS_LIBRARY "log-calls-library" "The callback must not call the library.";
    CONTROL_IN_CALLBACK "control-in-callback" "may be called on any thread, but not from a callback of this library.";
    STALE_HANDLE "stale-handle" "A stale handle is refused with INVALID_HANDLE.";
    ARGUMENT "argument" "A null pointer, or a value out of its range.";
    FORMAT "format" "This library does not accept the pixel format, bit depth or number of planes.";
    FRAME_TOO_LARGE "frame-too-large" "The frame is larger than slide_begin announced.";
    FRAME_OUTSIDE "frame-outside" "The whole frame lies outside the declared extent.";
    FRAME_MEMORY "frame-memory" "Readable bytes from data on; at least (height - 1) * stride + a row.";
    FRAME_CHANGED "frame-changed" "The host may reuse the frame's memory on return.";
    AFTER_FINISH "after-finish" "Declares that there are no more frames.";
    BUFFER_MEMORY "buffer-memory" "The host owns every buffer and string it passes in.";
    BUFFERS_OVERLAP "buffers-overlap" "Results and alerts lie in arrays.";
    LIBRARY_WROTE_BEYOND "library-wrote-beyond" "It writes at most that many bytes of an output";
    RESULTS_DROPPED "results-dropped" "Ends the slide: cancels what is left, drops what was not polled";
    RESULTS_WAIT "results-wait" "Unpolled results that are kept before the slide slows down";
    FORKED "forked" "There every function, coverslip_get_api too, returns WRONG_STATE at once and does nothing";
    NOT_CLOSED "not-closed" "Cancels and ends every open slide, stops and joins every thread.";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header's text without its comment marks and line breaks.
    fn header() -> String {
        let text = include_str!("../../../include/coverslip/coverslip.h");
        let lines = text.lines().map(|line| line.trim().trim_start_matches('*').trim_end_matches("*/"));
        lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_sentence_is_the_headers() {
        let header = header();
        for rule in ALL {
            assert!(header.contains(rule.sentence), "{}: the header does not say {:?}", rule.name, rule.sentence);
        }
    }
}
