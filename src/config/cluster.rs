//! `kubernetes`: where EndpointSlices are read.

use std::path::PathBuf;

use http::Uri;

use super::auth::url;
use super::kind::{Kind as _, checked, path};
use super::problem::quote;
use super::read::section;

const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
const CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

section! {
    /// The Kubernetes API server that says where endpoints such as `kubernetes://namespace/service:port` are. In a pod whose service account may `list` and `watch` EndpointSlices, nothing of it needs to be written.
    pub struct Cluster {
        /// Its address; none: the one that Kubernetes tells every pod (`KUBERNETES_SERVICE_HOST`).
        server: Option<Uri> = checked("a URL such as `https://10.96.0.1`", url).optional(),
        /// The service account's token, read again each time that it is shown; it is never sent in the clear.
        token_file: PathBuf = path("a file").or("/var/run/secrets/kubernetes.io/serviceaccount/token"),
        /// Authorities, in PEM, one of which must have signed the API server's certificate; read again with the token.
        ca: PathBuf = path("a PEM file").or("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"),
        /// The namespace of endpoints that name none; none: the pod's own, which stands beside its token.
        namespace: Option<String> = checked("a namespace", namespace).optional(),
    }
}

impl Default for Cluster {
    /// As in a pod.
    fn default() -> Self {
        Self { server: None, token_file: TOKEN.into(), ca: CA.into(), namespace: None }
    }
}

fn namespace(text: &str) -> Result<String, String> {
    if is_label(text) { Ok(text.to_owned()) } else { Err(format!("{} is not a namespace", quote(text))) }
}

/// RFC 1123: how Kubernetes names namespaces, services and ports.
pub(super) fn is_label(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('-') && !text.ends_with('-')
}
