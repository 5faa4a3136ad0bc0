//! Nesting: how deep the brackets of a .proto file go, before a compiler that recurses with them sees it.

/// Where a bracket stands within `most` others, as a line and a column from 1; comments and strings have none.
pub(super) fn beyond(text: &str, most: usize) -> Option<(usize, usize)> {
    let (mut depth, mut rest, bytes) = (0_usize, 0, text.as_bytes());
    while let Some(&byte) = bytes.get(rest) {
        let next = &bytes[rest..];
        rest += match byte {
            b'"' | b'\'' => string(next, byte),
            b'/' if next.starts_with(b"//") => next.iter().position(|byte| *byte == b'\n').unwrap_or(next.len()),
            b'/' if next.starts_with(b"/*") => comment(next),
            b'{' | b'[' | b'<' | b'(' => {
                depth += 1;
                if depth > most {
                    return Some(place(text, rest));
                }
                1
            }
            b'}' | b']' | b'>' | b')' => {
                depth = depth.saturating_sub(1);
                1
            }
            _ => 1,
        };
    }
    None
}

/// Its bytes, the quotes with it; one that does not end ends with its line, as compilers have it.
fn string(text: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match *byte {
            b'\\' => at += 2,
            b'\n' => return at,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

fn comment(text: &[u8]) -> usize {
    text[2..].windows(2).position(|end| end == b"*/").map_or(text.len(), |at| at + 4)
}

fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..at];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::beyond;

    #[test]
    fn brackets_of_each_kind_count_and_those_in_strings_and_comments_do_not() {
        for (open, close) in [("{", "}"), ("[", "]"), ("<", ">"), ("(", ")")] {
            let nested = |depth: usize| format!("{}{}", open.repeat(depth), close.repeat(depth));
            assert_eq!(beyond(&nested(3), 3), None);
            assert_eq!(beyond(&format!("a\n b{}", nested(4)), 3), Some((2, 6)), "{open}");
            assert_eq!(beyond(&nested(3).repeat(9), 3), None, "{open}");
        }
        for text in ["\"{{\"", "'{{'", "\"\\\"{{\"", "// {{\n", "/* {{ */", "/*{*/ '\"{' // {"] {
            assert_eq!(beyond(&format!("{text}{{}}"), 1), None, "{text}");
            assert!(beyond(&format!("{text}{{{{}}}}"), 1).is_some() || text.ends_with("// {"), "{text}");
        }
        for text in ["/*", "\"", "'\\", "/", "/* *", "}", "\"\n"] {
            assert_eq!(beyond(text, 1), None, "{text}");
        }
        assert!(beyond("\"\n{{", 1).is_some(), "a string does not outlast its line");
    }
}
