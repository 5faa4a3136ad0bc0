//! One string, cleaned. What is clean already is not copied.

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;
use memchr::{memchr, memchr2, memmem};

/// One thing that is done to a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// White space at both ends goes.
    Trim,
    /// Control characters go, but tabs and line breaks.
    Control,
    /// Unicode's normal form C: characters that look alike and mean the same are the same.
    Nfc,
    /// HTML's tags and comments go, the text between them stays. What is left opens no tag.
    StripHtml,
}

/// Steps, in the one order in which none undoes another: normal form, control characters, tags, normal form again of what
/// came together, ends. Normal form is first as well, since it makes letters of ASCII: K of the sign for kelvin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Steps {
    trim: bool,
    control: bool,
    nfc: bool,
    strip_html: bool,
}

impl Steps {
    pub(super) fn of(steps: &[Step]) -> Self {
        let has = |step| steps.contains(&step);
        Self {
            trim: has(Step::Trim),
            control: has(Step::Control),
            nfc: has(Step::Nfc),
            strip_html: has(Step::StripHtml),
        }
    }

    pub(super) fn clean(self, text: &str) -> Cow<'_, str> {
        let mut clean = self.composed(Cow::Borrowed(text));
        let composed = clean.len();
        if self.control && clean.contains(unwanted) {
            clean = clean.chars().filter(|&character| !unwanted(character)).collect::<String>().into();
        }
        if self.strip_html && memchr(b'<', clean.as_bytes()).is_some() {
            clean = strip_html(&clean).into();
        }
        if clean.len() < composed {
            clean = self.composed(clean);
        }
        if self.trim && clean.trim().len() < clean.len() {
            clean = clean.trim().to_owned().into();
        }
        clean
    }

    fn composed<'t>(self, text: Cow<'t, str>) -> Cow<'t, str> {
        if !self.nfc || text.is_ascii() {
            return text;
        }
        match text {
            Cow::Borrowed(text) => ComposingNormalizerBorrowed::new_nfc().normalize(text),
            Cow::Owned(text) => ComposingNormalizerBorrowed::new_nfc().normalize(&text).into_owned().into(),
        }
    }
}

fn unwanted(character: char) -> bool {
    character.is_control() && !matches!(character, '\t' | '\n' | '\r')
}

/// One pass: where nothing closes any more is looked up once, and a `<` that is left over goes when what follows it would
/// make it a tag's.
fn strip_html(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let (mut at, mut closes, mut ends) = (0, true, true);
    while let Some(found) = memchr2(b'<', b'>', &bytes[at..]).map(|found| at + found) {
        push(&text[at..found], &mut out);
        at = found + 1;
        if bytes[found] == b'>' {
            out.push('>');
            continue;
        }
        let after = &bytes[at..];
        if after.starts_with(b"!--") && ends {
            match memmem::find(&after[3..], b"-->") {
                Some(end) => {
                    at += end + 6;
                    continue;
                }
                None => ends = false,
            }
        }
        if opens(after) {
            match closes.then(|| memchr(b'>', after)).flatten() {
                Some(end) => at += end + 1,
                // A tag that nothing closes: what it would hide is text.
                None => closes = false,
            }
        } else {
            out.push('<');
        }
    }
    push(&text[at..], &mut out);
    out
}

/// Appends a text in which nothing opens, and sees to it that nothing in front of it opens with it.
fn push(text: &str, out: &mut String) {
    if opens(text.as_bytes()) {
        while out.ends_with('<') {
            out.pop();
        }
    }
    out.push_str(text);
}

/// Behind a `<`, this begins a tag, a comment or what browsers take for one.
fn opens(text: &[u8]) -> bool {
    text.first().is_some_and(|&first| first.is_ascii_alphabetic() || matches!(first, b'/' | b'!' | b'?'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(steps: &[Step], text: &str) -> String {
        Steps::of(steps).clean(text).into_owned()
    }

    #[test]
    fn each_step_does_its_own() {
        for (step, text, expected) in [
            (Step::Trim, "\u{3000} a b\t\n", "a b"),
            (Step::Control, "a\0b\u{7f}c\u{85}d\te\r\n", "abcd\te\r\n"),
            (Step::Nfc, "e\u{301}A\u{30a}", "éÅ"),
            (Step::StripHtml, "a <b onclick=\"x()\">bold</b> word", "a bold word"),
            (Step::StripHtml, "1 < 2 > 0 <3", "1 < 2 > 0 <3"),
            (Step::StripHtml, "<!-- <b> -->x<!DOCTYPE html><?php y ?>z", "xz"),
            (Step::StripHtml, "a <b and c", "a b and c"),
            (Step::StripHtml, "a <!-- b", "a !-- b"),
        ] {
            assert_eq!(cleaned(&[step], text), expected, "{text:?}");
            assert_eq!(cleaned(&[], text), text);
        }
        let all = [Step::Trim, Step::StripHtml, Step::Nfc, Step::Control];
        assert_eq!(cleaned(&all, " <\0b> e\u{301} </b> "), "é");
        // What stood between a letter and its mark is gone: they are one.
        for text in ["e\u{1}\u{301}x", "e<b>\u{301}</b>x", "e<!---->\u{301}x"] {
            assert_eq!(cleaned(&all, text), "éx", "{text:?}");
        }
        assert_eq!(cleaned(&all, "\u{1100}\u{1}\u{1161}"), "가");
        // The sign for kelvin is a letter in normal form, which opens a tag.
        assert_eq!(cleaned(&all, "a<\u{212a}>b"), "ab");
    }

    #[test]
    fn what_is_left_opens_no_tag() {
        for text in [
            "<<b>script>alert(1)</script>",
            "<<<b>b>script>",
            "<scr<script>ipt>",
            "<!--><script>-->",
            "<<!-- -->script>",
            "<a <b <c",
            "</<b>script",
            "<<",
            "<b<!-- x",
        ] {
            let left = cleaned(&[Step::StripHtml], text);
            assert!(!left.as_bytes().windows(2).any(|pair| pair[0] == b'<' && opens(&pair[1..])), "{text}: {left}");
            assert_eq!(cleaned(&[Step::StripHtml], &left), left, "{text}");
        }
    }

    #[test]
    fn hostile_texts_take_one_pass() {
        let started = std::time::Instant::now();
        for text in ["<a".repeat(1 << 19), "<!--".repeat(1 << 18), "<".repeat(1 << 20)] {
            cleaned(&[Step::StripHtml], &text);
        }
        assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    }
}
