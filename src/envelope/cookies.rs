//! Cookies of a request (RFC 6265 §5.4).

use http::header::{COOKIE, HeaderMap};

/// The values of all cookies of a name, without quotes around them. An empty one was cleared: it is none.
pub fn named<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h [u8]> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b';'));
    let values = pairs.filter_map(move |pair| {
        let equals = pair.iter().position(|&byte| byte == b'=')?;
        (pair[..equals].trim_ascii() == name.as_bytes()).then(|| unquoted(pair[equals + 1..].trim_ascii()))
    });
    values.filter(|value| !value.is_empty())
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::{COOKIE, HeaderValue};

    use super::named;

    #[test]
    fn all_of_a_name_are_found_wherever_they_stand() {
        let mut headers = HeaderMap::new();
        for sent in [&b"a=1; b=2;a = \"3\" ; aa=4; a="[..], b"a=\xff=5", b"a"] {
            headers.append(COOKIE, HeaderValue::from_bytes(sent).unwrap());
        }
        let found: Vec<_> = named(&headers, "a").collect();
        assert_eq!(found, [&b"1"[..], b"3", b"\xff=5"]);
    }
}
