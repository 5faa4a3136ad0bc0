//! The tables of docs/CLIENTS.md are those of the code.

use std::fmt::Write as _;
use std::path::Path;

use super::*;

/// One of each kind, in the order of their declaration.
fn each() -> Vec<Error> {
    let (retry_after, limit) = (Duration::from_secs(1), 4 << 20);
    let unauthenticated =
        |fault| Error::Unauthenticated { token: TokenKind::Access, fault, status: StatusCode::UNAUTHORIZED };
    let (field, message) = (String::from("pages"), Cow::Borrowed("what is wrong with it"));
    vec![
        Error::NoRoute,
        Error::MethodNotAllowed { allow: HeaderValue::from_static("GET") },
        Error::BadRequest { field: field.clone(), message: message.clone() },
        Error::TooDeep { field: field.clone(), message: "nested deeper than 100".into() },
        Error::Violations([].into()),
        Error::media("what to send the body as"),
        Error::UnsupportedEncoding { supported: "gzip, br, zstd" },
        Error::TooLarge { limit },
        Error::MessageTooLarge { limit },
        Error::TooManyHeaders { limit: 100 },
        Error::TooSlow,
        Error::ResponseTooLarge { limit },
        Error::HeadTooLarge { limit: 8192 },
        Error::RateLimited { retry_after },
        unauthenticated(TokenFault::Missing),
        unauthenticated(TokenFault::Invalid),
        unauthenticated(TokenFault::Expired),
        unauthenticated(TokenFault::Misplaced),
        Error::Forbidden { token: TokenKind::Access },
        Error::CrossOrigin,
        Error::NotAdmin { token: true },
        Error::AuthUnavailable,
        Error::LogoutUntold,
        Error::LimitsUnavailable,
        Error::NoReload,
        Error::Overloaded { retry_after },
        Error::Draining,
        Error::NoEndpoint,
        Error::CircuitOpen { retry_after },
        Error::ConnectFailed,
        Error::UpstreamReset,
        Error::UpstreamProtocol(Cow::Borrowed("")),
        Error::Deadline,
        Error::StreamAge,
        Error::ClientGone,
        Error::Upstream(Box::new(Status::new(Code::NotFound, ""))),
        Error::Internal,
    ]
}

/// A kind that the table forgot would be told to nobody.
#[test]
fn the_table_has_every_kind() {
    let source = include_str!("../error.rs");
    let (_, declared) = source.split_once("pub enum Error {").unwrap();
    let (declared, _) = declared.split_once("\n}").unwrap();
    let declared = declared.lines().filter_map(|line| line.strip_prefix("    "));
    let declared: Vec<_> = declared.filter(|line| line.starts_with(char::is_uppercase)).map(name).collect();
    let mut listed: Vec<_> = each().iter().map(|error| name(&format!("{error:?}"))).collect();
    listed.dedup();
    assert_eq!(declared, listed);
}

fn name(text: &str) -> String {
    text.chars().take_while(char::is_ascii_alphanumeric).collect()
}

/// What the gateway says itself: reason, statuses, text.
fn own() -> String {
    let mut out = String::from("| reason | HTTP | gRPC code | message | retry |\n|---|---|---|---|---|\n");
    let mut told = Vec::new();
    for error in each() {
        let Some(reason) = error.reason() else { continue };
        // What the admin port says is for operators.
        if told.contains(&reason) || matches!(error, Error::NotAdmin { .. } | Error::NoReload) {
            continue;
        }
        told.push(reason);
        let (rest, rpc) = (error.code_in(DialectName::Rest), error.code());
        let code = match rest == rpc {
            true => format!("{} {}", rpc.number(), rpc.name()),
            false => format!("{} {}; to RPCs {} {}", rest.number(), rest.name(), rpc.number(), rpc.name()),
        };
        let retry = if error.retry_after().is_some() { "`Retry-After`" } else { "" };
        let (http, message) = (error.http().as_u16(), error.message());
        writeln!(out, "| `{reason}` | {http} | {code} | {message} | {retry} |").unwrap();
    }
    out
}

/// What services say: their code over HTTP and over WebSockets.
fn of_services() -> String {
    let mut out = String::from("| code | HTTP | WebSocket |\n|---|---|---|\n");
    for code in Code::ALL.into_iter().skip(1) {
        let (number, name, http) = (code.number(), code.name(), code.http());
        writeln!(out, "| {number} {name} | {http} | {} |", 4000 + u16::from(number)).unwrap();
    }
    out
}

#[test]
fn the_reference_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CLIENTS.md");
    let written = std::fs::read_to_string(&path).unwrap();
    let mut current = written.clone();
    for (mark, table) in [("own", own()), ("services", of_services())] {
        let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- {mark} end -->\n"));
        let (before, rest) = current.split_once(&begin).unwrap();
        let (_, after) = rest.split_once(&end).unwrap();
        current = format!("{before}{begin}{table}{end}{after}");
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &current).unwrap();
        return;
    }
    assert!(written == current, "docs/CLIENTS.md is old; UPDATE_DOCS=1 cargo test reference_is_current writes it");
}
