//! Names that say who the client is, or what a proxy wants: whether a client may send them on.

/// What a name may do, whoever sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It crosses as its dialect has it.
    Free,
    /// Services believe it of the proxy in front of them: it crosses where configuration lists it, behind such a proxy.
    OfProxies,
    /// It never crosses: the gateway itself says such things, or they belong to the connection.
    Never,
}

/// The standing of a name. `_` counts as `-`: some servers read both as one name.
pub(super) fn standing(name: &str) -> Standing {
    let mut buffer = [0_u8; 64];
    let name = match name.contains('_') {
        false => name,
        true => {
            // Longer names are cut: only prefixes matter below.
            let length = name.len().min(buffer.len());
            for (to, from) in buffer.iter_mut().zip(name.bytes()) {
                *to = if from == b'_' { b'-' } else { from };
            }
            std::str::from_utf8(&buffer[..length]).unwrap_or(name)
        }
    };
    match name.strip_prefix("x-") {
        Some(rest) => of_x(rest),
        None if is_never(name) => Standing::Never,
        None if is_of_proxies(name) => Standing::OfProxies,
        None => Standing::Free,
    }
}

/// Of `x-` and this: told apart by its first letter, since most headers of clients are such.
fn of_x(name: &str) -> Standing {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let (never, of_proxies) = match name.as_bytes().first() {
        Some(b'a') => (
            begins(&["amzn-mtls-", "arr-clientcert"]),
            begins(&["amzn-oidc-", "appengine-", "auth-request-", "authenticated-"]),
        ),
        Some(b'c') => {
            (begins(&["client-cert"]), begins(&["consumer-"]) || matches!(name, "client-ip" | "cluster-client-ip"))
        }
        Some(b'e') => (false, begins(&["endpoint-api-", "envoy-"])),
        Some(b'f') => (begins(&["forwarded-"]), false),
        Some(b'g') => (name == "grpc-web", begins(&["goog-authenticated-", "goog-iap-"])),
        Some(b'i') => (false, begins(&["istio-"])),
        Some(b'j') => (false, name == "jwt-payload"),
        Some(b'm') => (false, begins(&["ms-client-"])),
        Some(b'o') => (false, matches!(name, "original-forwarded-for" | "original-url")),
        Some(b'r') => (
            begins(&["real-ip"]) || matches!(name, "request-id" | "request-timeout"),
            begins(&["remote-"]) || name == "rewrite-url",
        ),
        Some(b's') => (begins(&["ssl-"]), begins(&["spiffe-"])),
        Some(b't') => (begins(&["tls-client-"]), false),
        Some(b'u') => (begins(&["user-"]), false),
        Some(b'w') => (false, begins(&["webauth-"])),
        _ => (false, false),
    };
    match (never, of_proxies) {
        (true, _) => Standing::Never,
        (false, true) => Standing::OfProxies,
        (false, false) => Standing::Free,
    }
}

fn is_never(name: &str) -> bool {
    match name.as_bytes().first() {
        Some(b'g') => {
            name == "grpclb-client-stats"
                || name.starts_with("grpc-")
                    && !matches!(
                        name,
                        "grpc-encoding"
                            | "grpc-accept-encoding"
                            | "grpc-previous-rpc-attempts"
                            | "grpc-trace-bin"
                            | "grpc-tags-bin"
                    )
        }
        Some(b'c') => {
            matches!(name, "cookie" | "connection" | "content-length" | "content-type" | "content-encoding")
                || name.starts_with("client-cert")
                || name.starts_with("connect-")
        }
        Some(b'p') => name.starts_with("proxy-"),
        // What services tell balancers.
        Some(b'l') => name == "lb-cost-bin",
        Some(b'e') => matches!(name, "endpoint-load-metrics-bin" | "expect"),
        Some(b's') => name.starts_with("ssl-client-"),
        // What this side understands is this hop's affair.
        Some(b'a') => matches!(name, "accept" | "accept-encoding"),
        _ => matches!(
            name,
            "host" | "te" | "forwarded" | "keep-alive" | "trailer" | "transfer-encoding" | "upgrade" | "http2-settings"
        ),
    }
}

fn is_of_proxies(name: &str) -> bool {
    match name.as_bytes().first() {
        Some(b'l') => name.starts_with("l5d-"),
        Some(b'r') => name.starts_with("remote-"),
        Some(b'c' | b'f' | b't') => matches!(name, "cf-connecting-ip" | "fastly-client-ip" | "true-client-ip"),
        _ => false,
    }
}
