//! Identity: whose a certificate is, as a list of names has it, and as `x-forwarded-client-cert` says it to services.
//!
//! The form is the one that Envoy made common: `Hash=…;URI=…;DNS=…`, the hash being SHA-256 of the certificate in DER. No client
//! can send that header itself: what speaks of the client's identity is taken off in every dialect.

use crate::hex::Hex;
use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderValue;
use tokio_rustls::rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// Names of one certificate that are told.
const MOST: usize = 16;

/// It is for one of these names: SPIFFE ids or other URIs, or hosts.
pub(super) fn is_for(certificate: &CertificateDer<'_>, names: &[String]) -> bool {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return false };
    certificate.valid_uri_names().any(|uri| names.iter().any(|name| name == uri))
        || certificate.valid_dns_names().any(|host| names.iter().any(|name| name.eq_ignore_ascii_case(host)))
}

/// What services are told of a certificate that was verified.
pub(super) fn identity(certificate: &CertificateDer<'_>) -> Option<HeaderValue> {
    let names = EndEntityCert::try_from(certificate).ok()?;
    let mut text = format!("Hash={}", Hex(digest(&SHA256, certificate).as_ref()));
    // Whatever an authority signs, nothing in a name may look like another part.
    let plain = |name: &&str| name.bytes().all(|byte| byte.is_ascii_graphic() && !b";,=\"\\".contains(&byte));
    for uri in names.valid_uri_names().filter(plain).take(MOST) {
        let _ = write!(text, ";URI={uri}");
    }
    for name in names.valid_dns_names().filter(plain).take(MOST) {
        let _ = write!(text, ";DNS={name}");
    }
    HeaderValue::try_from(text).ok()
}
