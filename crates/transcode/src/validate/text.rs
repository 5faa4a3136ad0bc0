//! What strings and bytes must be.

use memchr::memmem::Finder;
use regex::bytes::Regex;

use super::format::Format;

/// One test of a string's UTF-8, or of bytes.
#[derive(Debug)]
pub(super) enum Text {
    /// These bytes.
    Equal(Box<[u8]>),
    /// One of these, sorted.
    In(Box<[Box<[u8]>]>),
    /// None of these, sorted.
    NotIn(Box<[Box<[u8]>]>),
    /// So many characters, that is code points.
    Characters {
        least: u64,
        most: u64,
    },
    /// So many bytes.
    Bytes {
        least: u64,
        most: u64,
    },
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    Contains(Box<Finder<'static>>),
    Lacks(Box<Finder<'static>>),
    /// Somewhere in it; a pattern that means the whole says so with anchors. Linear in time, whatever the pattern.
    Matches(Regex),
    /// The same for bytes, which must be UTF-8.
    MatchesUtf8(Regex),
    /// This form, or nothing: emptiness has a rule of its own.
    Form(Format),
    /// Nothing, or so many bytes.
    Sizes(&'static [usize]),
    /// At least one byte.
    NotEmpty,
}

impl Text {
    pub(super) fn holds(&self, text: &[u8]) -> bool {
        let listed = |list: &[Box<[u8]>]| list.binary_search_by(|one| (**one).cmp(text)).is_ok();
        let between = |size: usize, least: u64, most: u64| (least..=most).contains(&(size as u64));
        match self {
            Self::Equal(wanted) => **wanted == *text,
            Self::In(list) => listed(list),
            Self::NotIn(list) => !listed(list),
            // A character has one to four bytes: often the bytes decide.
            Self::Characters { least, most } => {
                let size = text.len() as u64;
                size >= *least && (*least == 0 && size <= *most || between(characters(text), *least, *most))
            }
            Self::Bytes { least, most } => between(text.len(), *least, *most),
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::Suffix(suffix) => text.ends_with(suffix),
            Self::Contains(finder) => finder.find(text).is_some(),
            Self::Lacks(finder) => finder.find(text).is_none(),
            Self::Matches(pattern) => pattern.is_match(text),
            Self::MatchesUtf8(pattern) => simdutf8::basic::from_utf8(text).is_ok() && pattern.is_match(text),
            Self::Form(format) => text.is_empty() && *format != Format::UriRef || format.accepts(text),
            Self::Sizes(sizes) => text.is_empty() || sizes.contains(&text.len()),
            Self::NotEmpty => !text.is_empty(),
        }
    }
}

/// The code points of UTF-8: its bytes that continue none.
fn characters(text: &[u8]) -> usize {
    text.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_code_points() {
        let four = Text::Characters { least: 4, most: 4 };
        assert!(four.holds("añ𝄞z".as_bytes()));
        assert!(!four.holds("añ𝄞".as_bytes()));
        assert!(Text::Bytes { least: 8, most: 8 }.holds("añ𝄞z".as_bytes()));
        assert!(Text::Characters { least: 0, most: 2 }.holds("ññ".as_bytes()));
        assert!(!Text::Characters { least: 3, most: 9 }.holds("ññ".as_bytes()));
    }
}
