//! XML of slides, which strangers write: bounded before it is parsed, because the parser compares each attribute and
//! each namespace of an element with every other, and takes memory for each `<` and each `=` before it looks at them.

use roxmltree::{Document, ParsingOptions};

use super::budget::guarded;

/// Longest text, bytes. The XML of a scanner has pictures of the label in it.
const LONGEST: usize = 64 << 20;
/// Most attributes of an element, and most namespaces of a text.
const MOST_ATTRIBUTES: usize = 256;
const MOST_NAMESPACES: usize = 256;
/// Most `<` of a text, and most elements, texts and comments: a plate of 200,000 planes. Each takes 80 bytes.
const MOST_NODES: usize = 1 << 20;
/// Most `=` of a text: two attributes for each of these. Each takes 72 bytes.
const MOST_EQUALS: usize = 2 << 20;

/// Parses a text and gives what `look` finds. The parser's own words are not handed on: they quote the text.
///
/// # Errors
/// Where the text is damaged, or larger than any scanner's.
pub(super) fn look<T>(
    text: &str,
    what: &str,
    look: impl FnOnce(&Document<'_>) -> Result<T, String>,
) -> Result<T, String> {
    let text = text.trim_matches(['\0', '\u{feff}']).trim_start();
    let larger = || {
        format!(
            "{what} is larger than any scanner's: expected at most {} MB, {MOST_NODES} elements and texts, {MOST_EQUALS} \
             attributes, {MOST_ATTRIBUTES} of one element, and {MOST_NAMESPACES} namespaces",
            LONGEST >> 20
        )
    };
    if text.len() > LONGEST || is_larger(text) {
        return Err(larger());
    }
    let options = ParsingOptions { nodes_limit: MOST_NODES as u32, ..ParsingOptions::default() };
    guarded("the XML parser", || {
        let document = Document::parse_with_options(text, options).map_err(|error| {
            let place = error.pos();
            match error {
                roxmltree::Error::NodesLimitReached => larger(),
                _ => format!("{what} is damaged in line {}, column {}", place.row, place.col),
            }
        })?;
        look(&document)
    })
}

/// Whether a text has more of anything than a scanner writes.
fn is_larger(text: &str) -> bool {
    let count = |wanted: u8| text.bytes().filter(|&byte| byte == wanted).count();
    count(b'<') > MOST_NODES
        || count(b'=') > MOST_EQUALS
        || busiest(text) > MOST_ATTRIBUTES
        || text.matches("xmlns").count() > MOST_NAMESPACES
}

/// Attributes of the element that has the most: quoted values between `<` and `>`.
fn busiest(text: &str) -> usize {
    let (mut most, mut count, mut quote, mut inside) = (0, 0, None, false);
    for byte in text.bytes() {
        match (inside, quote, byte) {
            (false, _, b'<') => (inside, count) = (true, 0),
            (true, None, b'>') => inside = false,
            (true, None, b'"' | b'\'') => (quote, count) = (Some(byte), count + 1),
            (true, Some(open), _) if byte == open => quote = None,
            _ => {}
        }
        most = most.max(count);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_would_take_minutes_or_gigabytes_are_refused() {
        let attributes: String = (0..90_000).map(|index| format!(" a{index}=\"0\"")).collect();
        let namespaces: String = (0..1000).map(|index| format!("<b xmlns:n{index}='u'>")).collect();
        let (marks, equals) = ("<".repeat(MOST_NODES), "=".repeat(MOST_EQUALS));
        let nodes = "<a/> ".repeat(MOST_NODES / 2);
        for text in [
            format!("<OME><Pixels{attributes}/></OME>"),
            format!("<OME>{namespaces}"),
            format!("<OME{marks}"),
            format!("<OME>={equals}</OME>"),
            format!("<OME>{nodes}</OME>"),
        ] {
            let refused = look(&text, "the OME-XML", |_| Ok(())).unwrap_err();
            assert!(refused.contains("the OME-XML is larger than any scanner's"), "{refused}");
        }
        let laughs = "<!DOCTYPE OME [<!ENTITY a \"xxxxxxxx\"><!ENTITY b \"&a;&a;&a;\">]><OME>&b;</OME>";
        let refused = look(laughs, "the OME-XML", |_| Ok(())).unwrap_err();
        assert!(refused.contains("is damaged in line 1"), "{refused}");
    }

    #[test]
    fn what_is_damaged_is_not_quoted() {
        let refused = look("<OME><Jane></Doe></OME>", "the OME-XML", |_| Ok(())).unwrap_err();
        assert!(refused.starts_with("the OME-XML is damaged in line 1") && !refused.contains("Jane"), "{refused}");
        let deep = "<a>".repeat(100_000) + &"</a>".repeat(100_000);
        let _ = look(&deep, "the OME-XML", |_| Ok(()));
        assert_eq!(look("\u{feff}<a b='1'/>", "it", |it| Ok(it.root_element().attributes().count())), Ok(1));
    }
}
