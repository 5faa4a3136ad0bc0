//! Names that no client may send on, in any dialect.

/// Whether no client may send it on. `_` counts as `-`: some servers read both as one name.
pub(super) fn kept_back(name: &str) -> bool {
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
    match name.as_bytes().first() {
        Some(b'x') => {
            const PREFIXES: [&str; 8] = [
                "x-user-",
                "x-forwarded-",
                "x-real-ip",
                "x-client-cert",
                "x-ssl-",
                "x-tls-client-",
                "x-amzn-mtls-",
                "x-arr-clientcert",
            ];
            PREFIXES.iter().any(|prefix| name.starts_with(prefix))
                || matches!(name, "x-request-id" | "x-request-timeout" | "x-grpc-web")
        }
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
