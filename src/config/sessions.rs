//! `sessions`: tokens in a service's answers as cookies of a browser.

use std::time::Duration;

use super::auth::{rpc, token};
use super::kind::{self, Kind as _, checked, choice, duration, flag, list};
use super::problem::quote;
use super::read::{choice, section};
use super::upstream::is_identifier;

/// The longest that browsers keep a cookie (RFC 6265bis §5.5).
const LONGEST: Duration = Duration::from_secs(400 * 24 * 3600);
/// A second.
const SECOND: Duration = Duration::from_secs(1);

section! {
    /// Tokens that a service answers become HttpOnly cookies, for clients that speak REST or Connect; gRPC and gRPC-Web clients carry their tokens
    /// themselves. The RPC that logs out is `auth.logout`: once it has succeeded, the cookies are cleared.
    pub struct Sessions {
        /// RPCs whose answer opens a session, `pkg.Service/Method`.
        login: Vec<String> = list(checked("a method such as `auth.AuthService/Login`", rpc)).or("[]"),
        /// The RPC that trades a refresh token for new tokens. It gets the cookie's where the client sends none; where it refuses it, the cookies are cleared.
        refresh: Option<String> = checked("a method such as `auth.AuthService/RefreshToken`", rpc).optional(),
        /// The access token, and the cookie that `auth.sources` reads.
        access_token: AccessCookie = kind::section().or("{}"),
        /// The refresh token.
        refresh_token: RefreshCookie = kind::section().or("{}"),
        /// Whether the tokens stay in the answer's message.
        in_body: InBody = choice().or("remove"),
        /// Cookies are sent over HTTPS alone; by default true where `environment` is `production`.
        secure: Option<bool> = flag().optional(),
        /// Whose pages send them; by default `strict` where `environment` is `production`, else `lax`.
        same_site: Option<SameSite> = choice().optional(),
        /// Cookies of an embedded page are kept apart by the page that embeds it (CHIPS).
        partitioned: bool = flag().or("false"),
    }
}

section! {
    /// The cookie of access tokens.
    pub struct AccessCookie {
        /// The answer's field that holds the token.
        field: String = checked("a field", field).or("access_token"),
        /// The cookie's name.
        cookie: String = checked("a cookie's name", token).or("accessToken"),
        /// Below which paths browsers send it.
        path: String = checked("a path", path).or("/"),
        /// How long they keep it.
        max_age: Duration = duration(SECOND..=LONGEST).or("15m"),
    }
}

section! {
    /// The cookie of refresh tokens.
    pub struct RefreshCookie {
        /// The field that holds the token, in the answer and in what `refresh` is asked.
        field: String = checked("a field", field).or("refresh_token"),
        /// The cookie's name.
        cookie: String = checked("a cookie's name", token).or("refreshToken"),
        /// Below which paths browsers send it: those of `refresh`, at least.
        path: String = checked("a path", path).or("/"),
        /// How long they keep it.
        max_age: Duration = duration(SECOND..=LONGEST).or("168h"),
    }
}

choice! {
    /// Whether tokens stay where the service put them.
    pub enum InBody {
        /// Pages never see them.
        Remove = "remove",
        /// They are there too, for clients that keep no cookies.
        Keep = "keep",
    }
}

choice! {
    /// Whose pages make a browser send a cookie.
    pub enum SameSite {
        /// Those of the same site.
        Strict = "strict",
        /// Those, and links that lead there.
        Lax = "lax",
        /// Anyone's; needs `secure`.
        None = "none",
    }
}

impl SameSite {
    /// The attribute's value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}

impl Sessions {
    /// What is not written, by `environment`.
    pub fn attributes(&self, environment: &str) -> (bool, SameSite) {
        let production = environment == "production";
        let usual = if production { SameSite::Strict } else { SameSite::Lax };
        (self.secure.unwrap_or(production), self.same_site.unwrap_or(usual))
    }

    /// The key that cannot be so, and why.
    pub(super) fn flaw(&self, environment: &str) -> Option<(&'static str, String)> {
        let (secure, same_site) = self.attributes(environment);
        let prefixed = |name: &str| name.starts_with("__Host-") || name.starts_with("__Secure-");
        let rooted = |name: &str, path: &str| !name.starts_with("__Host-") || path == "/";
        let (access, refresh) = (&self.access_token, &self.refresh_token);
        Some(match () {
            () if self.login.is_empty() && self.refresh.is_none() => {
                ("sessions", "names no RPC; write `login` or `refresh`".to_owned())
            }
            () if !secure && same_site == SameSite::None => {
                ("sessions.same_site", "browsers take `none` with `secure: true` alone".to_owned())
            }
            () if !secure && self.partitioned => {
                ("sessions.partitioned", "browsers take this with `secure: true` alone".to_owned())
            }
            () if access.cookie == refresh.cookie => {
                ("sessions.refresh_token.cookie", "is the access token's cookie too".to_owned())
            }
            () if access.field == refresh.field => {
                ("sessions.refresh_token.field", "is the access token's field too".to_owned())
            }
            () if prefixed(&access.cookie) && (!secure || !rooted(&access.cookie, &access.path)) => {
                ("sessions.access_token.cookie", PREFIX.to_owned())
            }
            () if prefixed(&refresh.cookie) && (!secure || !rooted(&refresh.cookie, &refresh.path)) => {
                ("sessions.refresh_token.cookie", PREFIX.to_owned())
            }
            () => return None,
        })
    }
}

const PREFIX: &str = "browsers take this prefix with `secure: true` alone, and `__Host-` with `path: /`";

fn field(text: &str) -> Result<String, String> {
    if is_identifier(text) { Ok(text.to_owned()) } else { Err(format!("{} is not a field's name", quote(text))) }
}

/// A cookie's path (RFC 6265 §4.1.1).
fn path(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';');
    match text.starts_with('/') && plain {
        true => Ok(text.to_owned()),
        false => Err(format!("{} is no path; write one such as `/api`", quote(text))),
    }
}
