//! Grammar of metadata: what HTTP lets pass and services of gRPC cannot read.
//!
//! They answer it with INTERNAL or a reset, which speaks against their endpoint: a few such calls would shut everybody out. So
//! the client hears of it here (PROTOCOL-HTTP2, Custom-Metadata).

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::{GRPC_ENCODING, unindexed};
use crate::error::Error;

/// A header may have so many binary values, with commas between them. Each is sent under the name again.
const BINARY_VALUES: usize = 16;

/// Whether a byte may stand in a name.
static OF_NAME: [bool; 256] = {
    let (mut table, mut byte) = ([false; 256], 0);
    while byte < table.len() {
        table[byte] = matches!(byte as u8, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.');
        byte += 1;
    }
    table
};

/// Whether gRPC has such a name: HTTP has more.
pub(super) fn is_name(name: &HeaderName) -> bool {
    name.as_str().bytes().fold(true, |is, byte| is & OF_NAME[usize::from(byte)])
}

/// Adds what a client sent.
///
/// # Errors
/// No service could read it.
pub(super) fn append(metadata: &mut HeaderMap, name: &HeaderName, value: HeaderValue) -> Result<(), Error> {
    // What most calls have, of HTTP's own names and with any value.
    if !matches!(*name, header::AUTHORIZATION | header::USER_AGENT) {
        if !is_name(name) {
            let wanted = "metadata is named by letters, digits, `_`, `-` and `.`";
            return Err(Error::bad_request(format!("{name}: {wanted}")));
        }
        if name.as_str().ends_with("-bin") {
            return append_binary(metadata, name, &value);
        }
        if name.as_str().starts_with("grpc-") {
            own(metadata, name, &value)?;
        }
    }
    metadata.append(name, value);
    Ok(())
}

/// Base64, with commas between values: most servers read them one by one alone.
fn append_binary(metadata: &mut HeaderMap, name: &HeaderName, value: &HeaderValue) -> Result<(), Error> {
    const READ: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const ENGINE: GeneralPurpose = GeneralPurpose::new(&STANDARD, READ);
    let values: SmallVec<[&[u8]; 2]> = value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii).collect();
    if values.len() > BINARY_VALUES {
        return Err(Error::bad_request(format!("{name}: {BINARY_VALUES} values at most may be in one header")));
    }
    for value in values {
        let read = ENGINE.decode(value).ok().and_then(|_| HeaderValue::from_bytes(value).ok());
        let Some(value) = read else {
            return Err(Error::bad_request(format!("{name}: a -bin header is base64")));
        };
        metadata.append(name, unindexed(&value));
    }
    Ok(())
}

/// What gRPC says of a call itself.
fn own(metadata: &HeaderMap, name: &HeaderName, value: &HeaderValue) -> Result<(), Error> {
    if name == "grpc-previous-rpc-attempts" && !is_number(value.as_bytes()) {
        return Err(Error::bad_request(format!("{name}: it is a number")));
    }
    if *name == GRPC_ENCODING && metadata.contains_key(name) {
        return Err(Error::bad_request(format!("{name}: messages have one coding")));
    }
    Ok(())
}

/// Of 32 bits.
fn is_number(digits: &[u8]) -> bool {
    digits.iter().all(u8::is_ascii_digit) && std::str::from_utf8(digits).is_ok_and(|text| text.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderMap, HeaderName, HeaderValue};

    use super::append;

    fn sent(name: &str, value: &str) -> Option<Vec<String>> {
        let (name, mut metadata) = (HeaderName::try_from(name).unwrap(), HeaderMap::new());
        append(&mut metadata, &name, HeaderValue::from_str(value).unwrap()).ok()?;
        Some(metadata.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect())
    }

    #[test]
    fn names_are_those_that_grpc_has() {
        for name in ["x-a", "x_a", ".a", "-", "a.b-c_d9", "x-a_bin", "if-match"] {
            assert_eq!(sent(name, "!").unwrap(), ["!"], "{name}");
        }
        for byte in (0..=255_u8).filter(|byte| !byte.is_ascii_alphanumeric() && !b"_-.".contains(byte)) {
            let name = [b'x', byte, b'a'];
            if let Ok(name) = HeaderName::from_bytes(&name) {
                assert_eq!(sent(name.as_str(), "a"), None, "{name}");
            }
        }
    }

    #[test]
    fn a_binary_value_is_base64_and_one_of_a_list_is_a_value() {
        for (value, values) in [
            ("AAEC", &["AAEC"][..]),
            ("AA", &["AA"]),
            ("AA==", &["AA=="]),
            ("", &[""]),
            (" AAEC ", &["AAEC"]),
            ("AAEC,AA==, AA", &["AAEC", "AA==", "AA"]),
            ("AA,", &["AA", ""]),
        ] {
            assert_eq!(sent("x-bin", value).unwrap(), values, "{value}");
        }
        for value in ["!", "A", "AB", "AB==", "_-__", "A===", "AA AA", "AA,!", &["AA"; 17].join(",")] {
            assert_eq!(sent("x-bin", value), None, "{value}");
        }
        assert_eq!(sent("x-bin", &["AA"; 16].join(",")).unwrap().len(), 16);
    }

    #[test]
    fn attempts_are_a_number() {
        for (value, well) in [("0", true), ("4294967295", true), ("4294967296", false), ("+1", false), ("", false)] {
            assert_eq!(sent("grpc-previous-rpc-attempts", value).is_some(), well, "{value}");
        }
    }
}
