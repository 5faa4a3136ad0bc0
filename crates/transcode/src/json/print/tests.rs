use super::*;

fn text(print: impl FnOnce(&mut Text) -> Done) -> String {
    let mut text = Text::new(b">".to_vec(), 0, usize::MAX / 2);
    print(&mut text).unwrap();
    let (out, fits) = text.finish(true);
    fits.unwrap();
    String::from_utf8(out).unwrap().strip_prefix('>').unwrap().to_owned()
}

#[test]
fn closing_takes_the_last_comma() {
    let printed = text(|text| {
        text.open(b'{')?;
        text.raw(b"\"a\":")?;
        text.open(b'[')?;
        text.integer(1)?;
        text.bool(true)?;
        text.close(b']')?;
        text.raw(b"\"b\":")?;
        text.open(b'{')?;
        text.close(b'}')?;
        text.close(b'}')
    });
    assert_eq!(printed, r#"{"a":[1,true],"b":{}}"#);
}

#[test]
fn strings_of_every_length_at_every_place() {
    let source: String = ('a'..='z').chain('0'..='9').cycle().take(100).collect();
    for start in 0..40 {
        for end in start..100 {
            let printed = text(|text| text.string(source.as_bytes(), start, end, b','));
            assert_eq!(printed, format!("\"{}\"", &source[start..end]));
        }
    }
}

#[test]
fn every_scalar_value_reads_back_from_every_place() {
    for c in (0..0x300).chain([0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff]).filter_map(char::from_u32) {
        for before in [0, 1, 7, 8, 15, 16, 17, 31] {
            let source = format!("{}{c}{c}]{c} \"\\{}", "x".repeat(before), "y".repeat(20));
            let printed = text(|text| text.string(source.as_bytes(), 0, source.len(), b','));
            let read: String = serde_json::from_str(&printed).unwrap();
            assert_eq!(read, source);
            assert_eq!(printed, serde_json::to_string(&source).unwrap());
        }
    }
}

#[test]
fn strings_that_are_not_utf8_are_refused() {
    for bad in [&b"\xff"[..], b"\xc3", b"abcdefghijklmnop\xed\xa0\x80", b"\xc0\x80 and more than a block behind"] {
        assert_eq!(Text::new(Vec::new(), 0, 1000).string(bad, 0, bad.len(), b','), Err(Refused::NotUtf8));
    }
}

#[test]
fn bytes_are_base64_with_padding() {
    for (bytes, expected) in [("", "\"\""), ("f", "\"Zg==\""), ("fo", "\"Zm8=\""), ("foobar", "\"Zm9vYmFy\"")] {
        assert_eq!(text(|text| text.base64(bytes.as_bytes())), expected);
    }
}

#[test]
fn numbers_are_the_shortest_that_read_back() {
    for (value, expected) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (-1.5, "-1.5"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (f64::NAN, "\"NaN\""),
        (f64::INFINITY, "\"Infinity\""),
        (f64::NEG_INFINITY, "\"-Infinity\""),
    ] {
        assert_eq!(text(|text| text.float(value)), expected);
    }
    assert_eq!(text(|text| text.float(0.1_f32)), "0.1");
    assert_eq!(text(|text| text.integer(i64::MIN)), i64::MIN.to_string());
    assert_eq!(text(|text| text.quoted(u64::MAX, b',')), format!("\"{}\"", u64::MAX));
}

#[test]
fn nothing_grows_beyond_the_limit() {
    let long = vec![b'x'; 1 << 20];
    for limit in [0, 1, 100, 1000] {
        let mut text = Text::new(Vec::new(), usize::MAX / 4, limit);
        assert_eq!(text.string(&long, 0, long.len(), b','), Err(Refused::Full));
        assert_eq!(text.base64(&long), Err(Refused::Full));
        let full = (0..).find_map(|_| text.integer(7).err());
        assert_eq!(full, Some(Refused::Full));
        assert!(text.out.len() <= limit + 2 * AHEAD);
    }
    for (limit, expected) in [(7, Ok(())), (6, Err(Refused::Full))] {
        let mut text = Text::new(b">".to_vec(), 0, limit);
        text.string(b"12345", 0, 5, b',').unwrap();
        let (out, fits) = text.finish(true);
        assert_eq!(fits, expected);
        assert_eq!(out, if fits.is_ok() { &b">\"12345\""[..] } else { b">" });
    }
}

#[test]
fn a_text_grows_by_its_own_length_whatever_stands_before_it() {
    const BEFORE: usize = 1 << 20;
    let mut text = Text::new(vec![b'>'; BEFORE], 0, usize::MAX / 2);
    text.string("a".repeat(100).as_bytes(), 0, 100, b',').unwrap();
    assert!(text.out.len() < BEFORE + 1024, "{} bytes for a text of 102", text.out.len() - BEFORE);
}
