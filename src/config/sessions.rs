//! `sessions`: tokens as cookies of a browser; a service's, or the gateway's own.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value as Json;

use super::HOUR;
use super::auth::{check_claim, rpc, token};
use super::connect;
use super::fallback::Jsons;
use super::kind::{self, Kind as _, checked, choice, duration, flag, list, map};
use super::problem::quote;
use super::read::{choice, section};
use super::upstream::{is_full_name, is_identifier};

/// The longest that browsers keep a cookie (RFC 6265bis §5.5).
const LONGEST: Duration = Duration::from_secs(400 * 24 * 3600);
/// A second.
const SECOND: Duration = Duration::from_secs(1);

section! {
    /// Tokens that a service answers become HttpOnly cookies, for clients that speak REST, Connect or gRPC-Web, as pages do; gRPC's own clients keep no
    /// cookies: they find their tokens in the message and carry them themselves. The RPC that logs out is `auth.logout`: once it has succeeded, the cookies are cleared. Who comes to it with the refresh token's cookie, and whose access token is missing or has expired, is renewed first, whatever `automatic` says; where no token is good, it is refused and the cookies are cleared all the same. Pages of other origins reach none of these RPCs, but by GET, unless `cors` lets them call with credentials.
    pub struct Sessions {
        /// RPCs whose answer opens a session, `pkg.Service/Method`.
        login: Vec<String> = list(checked("a method such as `auth.AuthService/Login`", rpc)).or("[]"),
        /// The RPC that trades a refresh token for new tokens. It gets the cookie's where the client sends none; where it refuses it, the cookies are cleared.
        refresh: Option<String> = checked("a method such as `auth.AuthService/RefreshToken`", rpc).optional(),
        /// The gateway issues the tokens itself, for whom the answer of `login` names. In place of `refresh`.
        issue: Option<Issue> = kind::section().optional(),
        /// A call whose access token is missing, or expired in its cookie, is renewed on the way by the refresh token's cookie, by `issue` or by asking `refresh`: it is answered as if nothing had been, and sets new cookies. Calls that come with one refresh token at once, at whichever gateway, get the same tokens, and so does who calls `refresh` itself beside them, by the cookie. A call waits for `refresh` for five seconds at most, and the question goes on without it: its answer is there for the next. What `refresh` is asked on the way counts in its limits by `client`.
        automatic: bool = flag().or("false"),
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
    /// Tokens that the gateway signs itself, as the first `auth.jwt` with a `secret`: an access token that lasts as long as its cookie, and a refresh token that is good once. Sessions are kept in `redis`, or here without one. They are signed by HMAC alone (HS256, HS384 or HS512, with that secret): each service that verifies them could sign them too, and where tokens come from a `jwks` alone the gateway has nothing to sign with.
    pub struct Issue {
        /// What access tokens say: claim → field of login's answer, such as `user.id`. Their `sub` is needed: an answer without it opens no session. Beside these they say `sid`, the session, and `auth_time`, when its user logged in.
        claims: BTreeMap<String, String> =
            map("a claim such as `sub`", check_own_claim, checked("a field such as `user.id`", answer_field)).required(),
        /// A session ends when its tokens were not renewed for so long.
        idle: Duration = duration(SECOND..=LONGEST).or("168h"),
        /// It ends after so long in any case.
        absolute: Duration = duration(SECOND..=LONGEST).or("720h"),
        /// How long after a renewal the token before is answered with the newest tokens, and the last four where it is renewed more often: calls that set out together, an answer that was lost. Later it is theft, and the session ends.
        grace: Duration = duration(Duration::ZERO..=HOUR).or("10s"),
        /// Where tokens are renewed, by POST: the refresh token comes in its cookie, or as `refresh_token.field` of a JSON object.
        refresh: Option<OwnRoute> = kind::section().optional(),
        /// Where sessions end, by POST with an access token; where a browser's is missing or has expired, with the refresh token's cookie. Without a token that is good it is refused, and the cookies are cleared all the same.
        logout: Option<OwnRoute> = kind::section().optional(),
    }
}

section! {
    /// A route of the gateway's own.
    pub struct OwnRoute {
        /// Its path, such as `/api/auth/refresh`.
        path: String = checked("a path such as `/api/auth/refresh`", connect::path).required(),
        /// The answer's body, as JSON or as YAML; the texts `{access_token}` and `{refresh_token}` in a renewal's are the tokens. By default `{"success": true}`, and the tokens by the names of their fields where `in_body` keeps them. Who brings a refresh token in the body, and so keeps no cookies, is told the new tokens in any case: under `in_body: remove` by the names of their fields.
        response: Option<Json> = Jsons.optional(),
    }
}

section! {
    /// The cookie of access tokens.
    pub struct AccessCookie {
        /// The answer's field that holds the token.
        field: String = checked("a field", field).or("access_token"),
        /// The cookie's name.
        cookie: String = checked("a cookie's name", token).or("accessToken"),
        /// Below which paths browsers send it. They keep the cookie of a path that was written before beside the new one: two different tokens are none, and who has both is shut out until the older one ends. So write another `cookie` with another path.
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
        /// Below which paths browsers send it: those of `refresh`, at least. They keep the cookie of a path that was written before beside the new one: two different tokens are none, and who has both is shut out until the older one ends. So write another `cookie` with another path.
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
    /// The answer of a renewal has tokens by its own wish.
    fn shows_tokens(&self) -> bool {
        let response = self.issue.as_ref().and_then(|issue| issue.refresh.as_ref()?.response.as_ref());
        let text = response.map(Json::to_string).unwrap_or_default();
        text.contains(ACCESS) || text.contains(REFRESH)
    }

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
            () if self.issue.is_some() && self.refresh.is_some() => {
                ("sessions.refresh", "a service renews its own tokens; keep this or `issue`".to_owned())
            }
            () if self.issue.as_ref().is_some_and(|issue| !issue.claims.contains_key("sub")) => {
                ("sessions.issue.claims", "say not whose the tokens are; write `sub: user_id`".to_owned())
            }
            () if self.issue.is_some() && self.login.is_empty() => {
                ("sessions.login", "names no RPC whose answer opens a session".to_owned())
            }
            () if self.in_body == InBody::Remove && self.shows_tokens() => {
                ("sessions.issue.refresh.response", "has tokens, which `in_body: remove` takes out".to_owned())
            }
            () if self.automatic && self.issue.is_none() && self.refresh.is_none() => {
                ("sessions.automatic", "says not who renews tokens; write `issue` or `refresh`".to_owned())
            }
            () if self.automatic && refresh.path != "/" => {
                ("sessions.refresh_token.path", "browsers send it below this alone; `automatic` needs `/`".to_owned())
            }
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

/// What stands for the tokens in an answer.
pub const ACCESS: &str = "{access_token}";
pub const REFRESH: &str = "{refresh_token}";

/// Claims that say what a token is are the gateway's to write.
fn check_own_claim(text: &str) -> Result<(), String> {
    const OWN: [&str; 8] = ["sid", "auth_time", "iss", "aud", "exp", "nbf", "iat", "jti"];
    match OWN.contains(&text) {
        true => Err("is written by the gateway; choose another name".to_owned()),
        false => check_claim(text),
    }
}

fn answer_field(text: &str) -> Result<String, String> {
    if is_full_name(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("{} is not a field; write `user.id`", quote(text)))
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
