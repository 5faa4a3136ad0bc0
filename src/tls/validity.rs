//! Validity: until when a certificate is good (RFC 5280, 4.1.2.5).

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use tokio_rustls::rustls::pki_types::CertificateDer;

/// A certificate that ends this soon is worth a warning.
pub const NEAR: Duration = Duration::from_secs(14 * 24 * 3600);

/// When a certificate ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// The key, within its section, that names its file.
    pub key: &'static str,
    /// The last second that it is good for.
    pub at: Timestamp,
}

impl Expiry {
    /// What there is to say about it; nothing while its end is far.
    pub fn warning(&self, now: Timestamp) -> Option<String> {
        let left = self.at.duration_since(now);
        let near = i64::try_from(NEAR.as_secs()).unwrap_or(i64::MAX);
        match left.as_secs() {
            left if left < 0 => Some(format!("expired at {}", self.at)),
            left if left < near => Some(format!("expires at {}", self.at)),
            _ => None,
        }
    }
}

/// A certificate's last second; none of what is no certificate.
pub(super) fn not_after(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (_, mut tbs, _) = element(element(certificate).filter(|(tag, ..)| *tag == SEQUENCE)?.1)?;
    if tbs.first() == Some(&VERSION) {
        tbs = element(tbs)?.2;
    }
    // The serial number, the signature's algorithm, the issuer.
    for _ in 0..3 {
        tbs = element(tbs)?.2;
    }
    let (tag, validity, _) = element(tbs)?;
    let (kind, text, _) = element(element(validity).filter(|_| tag == SEQUENCE)?.2)?;
    time(kind, std::str::from_utf8(text).ok()?)
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn time(kind: u8, text: &str) -> Option<Timestamp> {
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let century = match kind {
        // Two digits of a year are those of 1950 to 2049.
        UTC_TIME if text.as_bytes().first()? >= &b'5' => "19",
        UTC_TIME => "20",
        GENERALIZED_TIME => "",
        _ => return None,
    };
    let text = format!("{century}{}", text.strip_suffix('Z')?);
    let civil = DateTime::strptime("%Y%m%d%H%M%S", text).ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// The first DER element of some bytes: its tag, its content, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match length {
        0x80..=0xff => {
            let (digits, rest) =
                rest.split_at_checked(usize::from(length & 0x7f)).filter(|(digits, _)| digits.len() <= 4)?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        length => (usize::from(length), rest),
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use tokio_rustls::rustls::pki_types::CertificateDer;

    use super::{Expiry, not_after};

    fn certificate(year: i32) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 3, 4);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn the_end_is_read_in_both_of_its_forms() {
        for (year, end) in [(2031, "2031-03-04T00:00:00Z"), (2068, "2068-03-04T00:00:00Z")] {
            assert_eq!(not_after(&certificate(year)).unwrap().to_string(), end);
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let whole = certificate(2031);
        for length in 0..whole.len().min(250) {
            let _ = not_after(&CertificateDer::from(whole[..length].to_vec()));
        }
        assert_eq!(not_after(&CertificateDer::from(b"0\x84\xff\xff\xff\xff".to_vec())), None);
        assert_eq!(not_after(&CertificateDer::from(Vec::new())), None);
    }

    #[test]
    fn an_end_that_is_near_is_told() {
        let expiry = Expiry { key: "cert", at: "2031-03-04T00:00:00Z".parse().unwrap() };
        let on = |day: &str| expiry.warning(day.parse().unwrap());
        assert_eq!(on("2031-01-01T00:00:00Z"), None);
        assert_eq!(on("2031-02-20T00:00:00Z").as_deref(), Some("expires at 2031-03-04T00:00:00Z"));
        assert_eq!(on("2031-03-05T00:00:00Z").as_deref(), Some("expired at 2031-03-04T00:00:00Z"));
    }
}
