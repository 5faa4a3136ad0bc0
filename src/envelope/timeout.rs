//! How long a client wants to wait.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use transom_transcode::frame;

use super::metadata::X_REQUEST_TIMEOUT;
use crate::error::Error;

static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Longer than any connection lives: what a larger number means.
const LONGEST: f64 = 1e9;

/// The shorter of `grpc-timeout` and `x-request-timeout` (seconds, with a fraction).
///
/// # Errors
/// One of them is no time.
pub fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    let grpc =
        match headers.get(&GRPC_TIMEOUT) {
            Some(value) => {
                Some(value.to_str().ok().and_then(frame::timeout::parse).ok_or_else(|| {
                    Error::bad_request("grpc-timeout is at most 8 digits and one of H, M, S, m, u, n")
                })?)
            }
            None => None,
        };
    let seconds = match headers.get(&X_REQUEST_TIMEOUT) {
        Some(value) => Some(
            value
                .to_str()
                .ok()
                .and_then(seconds)
                .ok_or_else(|| Error::bad_request("x-request-timeout is a number of seconds, such as 2 or 0.5"))?,
        ),
        None => None,
    };
    Ok(grpc.into_iter().chain(seconds).min())
}

fn seconds(text: &str) -> Option<Duration> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds = text.parse::<f64>().ok().filter(|_| plain)?;
    Duration::try_from_secs_f64(seconds.min(LONGEST)).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, HeaderValue};

    use super::timeout;

    fn of(sent: &[(&'static str, &'static str)]) -> Option<Option<Duration>> {
        let headers: HeaderMap =
            sent.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect();
        timeout(&headers).ok()
    }

    #[test]
    fn the_shorter_wins_and_nonsense_is_refused() {
        assert_eq!(of(&[]), Some(None));
        assert_eq!(of(&[("grpc-timeout", "250m")]), Some(Some(Duration::from_millis(250))));
        assert_eq!(of(&[("x-request-timeout", "1.5")]), Some(Some(Duration::from_millis(1500))));
        let both = [("x-request-timeout", "1"), ("grpc-timeout", "2S")];
        assert_eq!(of(&both), Some(Some(Duration::from_secs(1))));
        for wrong in ["", "-1", "inf", "NaN", "1e3", "1s", "0x10"] {
            assert_eq!(of(&[("x-request-timeout", wrong)]), None, "{wrong}");
        }
        assert_eq!(of(&[("grpc-timeout", "1")]), None);
        assert!(of(&[("x-request-timeout", "99999999999999999999999999")]).flatten().is_some());
    }
}
