//! Patterns: RE2's syntax, which `buf.validate` names, as the `regex` crate reads it. Both match in linear time.
//!
//! They differ in little: RE2's `\d`, `\w`, `\s` and `\b` are ASCII; it knows `\Q…\E`; and within brackets `[`, `&&`, `--`
//! and `~~` mean themselves.

use regex::bytes::{Regex, RegexBuilder};

/// Bytes that a pattern may take once compiled; what asks for more is refused at load.
const LARGEST: usize = 256 << 10;

/// Compiles a pattern.
pub(super) fn compile(pattern: &[u8]) -> Result<Regex, String> {
    let pattern = std::str::from_utf8(pattern).map_err(|_| "its pattern is not UTF-8".to_owned())?;
    let built =
        RegexBuilder::new(&translate(pattern)).size_limit(LARGEST).dfa_size_limit(LARGEST).nest_limit(100).build();
    built.map_err(|error| format!("its pattern `{pattern}` cannot be used: {}", reason(&error)))
}

/// The last line of what the crate says: the lines above draw the pattern.
fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "it would take too much memory".to_owned(),
        error => {
            let text = error.to_string();
            text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
    }
}

fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    // How many characters since `[`; none outside of brackets.
    let mut class: Option<usize> = None;
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        let (written, left): (&str, &str) = match (first, class) {
            ('\\', _) => {
                let Some(escaped) = after.chars().next() else {
                    out.push('\\');
                    break;
                };
                let left = &after[escaped.len_utf8()..];
                if escaped == 'Q' && class.is_none() {
                    let (literal, left) = left.split_once("\\E").unwrap_or((left, ""));
                    out.push_str(&regex::escape(literal));
                    rest = left;
                    continue;
                }
                match ascii(escaped) {
                    Some(written) => (written, left),
                    None => (&rest[..1 + escaped.len_utf8()], left),
                }
            }
            ('[', None) => {
                out.push('[');
                let (negation, left) = after.strip_prefix('^').map_or(("", after), |left| ("^", left));
                out.push_str(negation);
                // A bracket in front closes nothing.
                let left = left.strip_prefix(']').inspect(|_| out.push_str("\\]")).unwrap_or(left);
                class = Some(0);
                rest = left;
                continue;
            }
            ('[', Some(_)) => match after.strip_prefix(':').and_then(|name| name.find(":]")) {
                Some(end) => rest.split_at(end + 4),
                None => ("\\[", after),
            },
            (']', Some(_)) => {
                out.push(']');
                class = None;
                rest = after;
                continue;
            }
            ('&', Some(_)) => ("\\&", after),
            ('~', Some(_)) => ("\\~", after),
            ('-', Some(0)) => ("\\-", after),
            ('-', Some(_)) if after.starts_with('-') => ("-\\-", &after[1..]),
            _ => rest.split_at(first.len_utf8()),
        };
        out.push_str(written);
        class = class.map(|seen| seen + 1);
        rest = left;
    }
    out
}

/// What RE2 takes an escape for that the crate would read as Unicode's.
fn ascii(escaped: char) -> Option<&'static str> {
    Some(match escaped {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        's' => r"[\t\n\f\r ]",
        'S' => r"[^\t\n\f\r ]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        'b' => r"(?-u:\b)",
        'B' => r"(?-u:\B)",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_re2_reads() {
        for (pattern, text, expected) in [
            (r"^\d+$", "42", true),
            (r"^\d+$", "٤٢", false), // Arabic digits
            (r"^\D$", "ñ", true),
            (r"^[\w-]+$", "a_b-c", true),
            (r"^[^\W]+$", "ab-c", false),
            (r"^[[]$", "[", true),
            (r"^[]a]+$", "]a", true),
            (r"^[^]a]+$", "b", true),
            (r"^[[:alpha:]&&b]+$", "a&b", true),
            (r"^[a~~b]+$", "~", true),
            (r"^[+--]+$", "+,-", true),
            (r"^[--0]+$", "-./0", true),
            (r"\Qa.b\E$", "a.b", true),
            (r"\Qa.b\E$", "axb", false),
            (r"^.$", "𝄞", true),
            (r"(?i)^straße$", "STRASSE", false),
            (r"\bcat\b", "a cat.", true),
            (r"^\pL+$", "ñandú", true),
        ] {
            assert_eq!(compile(pattern.as_bytes()).unwrap().is_match(text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn refuses_what_would_take_too_much() {
        let why = compile(b"((a{100}){100}){100}").unwrap_err();
        assert!(why.contains("too much memory"), "{why}");
        let why = compile(b"(?=a)").unwrap_err();
        assert!(why.contains("look-around"), "{why}");
    }
}
