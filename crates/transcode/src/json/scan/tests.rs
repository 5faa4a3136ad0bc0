use super::*;

fn skip(text: &str) -> Result<(), Fail> {
    let mut scanner = Scanner::new(text.as_bytes());
    scanner.skip(5)?;
    scanner.end()
}

fn refusal(text: &str) -> String {
    skip(text).unwrap_err().to_string()
}

fn string(text: &str) -> Result<String, Fail> {
    let mut out = Vec::new();
    unescape(Scanner::new(text.as_bytes()).string()?, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn every_json_value_is_read_over() {
    for text in [
        "null",
        " true ",
        "\t\r\n-0.5e-3",
        r#""a\u00e9\ud83d\ude00\n""#,
        "[]",
        "{}",
        r#"[1, [2], {"a" : {"b":[null]}}]"#,
        r#"{"long name of a field":"long text with many more bytes than one word","x":1}"#,
    ] {
        assert_eq!(skip(text), Ok(()), "{text}");
    }
}

#[test]
fn what_is_no_json_is_refused_with_its_place() {
    for (text, expected) in [
        ("", "expected a JSON value, got the end of the text (at byte 0)"),
        ("nul", "expected a JSON value, got nul (at byte 0)"),
        ("nullx", "expected a JSON value, got nullx (at byte 0)"),
        ("01", "expected the end of the text, got 1 (at byte 1)"),
        ("[1,]", "expected a JSON value, got ']' (at byte 3)"),
        ("[1 2]", "expected `,` or `]`, got 2 (at byte 3)"),
        (r#"{"a":1,}"#, "expected a field name in double quotes, got '}' (at byte 7)"),
        (r#"{"a" 1}"#, "expected `:`, got 1 (at byte 5)"),
        ("{a:1}", "expected a field name in double quotes, got a (at byte 1)"),
        ("[1] x", "expected the end of the text, got x (at byte 4)"),
        ("+1", "expected a JSON value, got +1 (at byte 0)"),
        ("-", "expected a JSON number, got - (at byte 0)"),
        ("'a'", "expected a JSON value, got '\\'' (at byte 0)"),
        ("\u{feff}1", "expected a JSON value, got '\\u{feff}' (at byte 0)"),
        (r#""abc"#, "the text ends inside a string (at byte 4)"),
        (r#""abc\"#, "the text ends inside a string (at byte 5)"),
        ("\"a\u{1}\"", "a control character in a string must be written as an escape (at byte 2)"),
        ("\"a\\n\u{1}\"", "a control character in a string must be written as an escape (at byte 4)"),
        (r#""\x""#, "no such escape; JSON has \\\" \\\\ \\/ \\b \\f \\n \\r \\t and \\uXXXX (at byte 1)"),
        (r#""\u12g4""#, "\\u needs four hexadecimal digits (at byte 1)"),
        (r#"{"\ud800":1}"#, "half of a surrogate pair (at byte 2)"),
        ("[[[[[[1]]]]]]", "nested too deep (at byte 5)"),
    ] {
        assert_eq!(refusal(text), expected, "{text}");
    }
}

#[test]
fn lone_surrogates_are_refused() {
    for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\ud800""#, r#""\ud800x""#, r#""\ud83d\u0041""#] {
        assert!(string(text).is_err(), "{text}");
    }
    assert_eq!(string(r#""\ud83d\ude00""#).unwrap(), "😀");
}

#[test]
fn strings_end_where_they_end_at_every_length() {
    for length in 0..40 {
        let plain = "x".repeat(length);
        let text = format!("\"{plain}\"tail");
        let mut scanner = Scanner::new(text.as_bytes());
        let token = scanner.string().unwrap();
        assert_eq!((token.raw, token.escaped, scanner.at()), (plain.as_bytes(), false, length + 2));
        assert_eq!(string(&format!("\"{plain}\\\"é{plain}\"")).unwrap(), format!("{plain}\"é{plain}"));
        assert!(Scanner::new(format!("\"{plain}\u{1f}").as_bytes()).string().is_err());
        assert!(Scanner::new(format!("\"{plain}").as_bytes()).string().is_err());
    }
}

#[test]
fn what_a_refusal_repeats_is_cut_short() {
    let long = format!("\"{}\"", "é".repeat(1000));
    let message = Scanner::new(long.as_bytes()).expected("a number").to_string();
    assert!(message.len() < 100, "{message}");
}
