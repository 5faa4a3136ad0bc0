//! Session: tokens as a browser's cookies, so that no script ever holds one. A service issues, rotates and refuses its own:
//! here they only change their place. Those of the gateway's own (`auth::SessionIssuer`) take theirs.
//!
//! ```text
//! answer of login or refresh     tokens → Set-Cookie, and out of the message unless they stay
//! request of refresh or logout   cookie → field, where the client sends none
//! answer of logout, a refusal    the cookies are cleared, with the attributes that they were set with
//! ```

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field};
use transom_transcode::schema::{Kind, MessageId, Method, Schema, Shape};
use transom_transcode::status::Code;

use super::auth::{Head, Pair, Refusal, cookie, own_page};
use crate::config::{self, InBody};
use crate::error::TokenKind;

/// Bytes of a cookie that browsers keep (RFC 6265 §6.1), its attributes included.
const LARGEST: usize = 4096;

/// What one RPC does to its clients' sessions.
pub struct Session {
    cookies: Arc<Cookies>,
    role: Role,
    /// The request's field that takes the refresh token.
    taken: Option<u32>,
}

/// What an RPC is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Its answer has tokens in these fields.
    Opens { access: u32, refresh: Option<u32>, renews: bool },
    /// Its answer says who has logged in, and gets the gateway's tokens in these fields.
    Issues { access: u32, refresh: u32 },
    /// Who it answers has none any more.
    Closes,
}

/// Both cookies.
pub struct Cookies {
    access: Cookie,
    refresh: Cookie,
    remove: bool,
}

/// A cookie, but for its value.
struct Cookie {
    name: Box<str>,
    /// From the path on.
    attributes: Box<str>,
    max_age: u64,
}

/// What a request's cookies have for its message.
pub enum Taken {
    /// The refresh token, if there is one; the answer's tokens become cookies.
    Cookie(Option<Box<str>>),
    /// Cookies are neither read nor set.
    Nowhere,
}

/// What becomes of an answer.
pub struct Shaped {
    /// What the client reads.
    pub message: Bytes,
    /// `Set-Cookie` of each token.
    pub cookies: Vec<HeaderValue>,
}

impl Session {
    /// What `rpc` does, if anything.
    ///
    /// # Errors
    /// Its messages are not fit for that: the key that names it, and why.
    pub fn compile(
        config: &config::Config,
        schema: &Schema,
        rpc: &str,
        method: &Method,
    ) -> Result<Option<Self>, (&'static str, String)> {
        let Some(written) = &config.sessions else { return Ok(None) };
        let logout = config.auth.as_ref().and_then(|auth| auth.logout.as_deref());
        let (login, refresh) = (written.login.iter().any(|name| name == rpc), written.refresh.as_deref() == Some(rpc));
        let place = match (login, refresh) {
            (true, _) => "sessions.login",
            (_, true) => "sessions.refresh",
            _ if logout == Some(rpc) => "auth.logout",
            _ => return Ok(None),
        };
        let problem = |why: String| (place, format!("{rpc}: {why}"));
        if method.client_streaming || method.server_streaming {
            return Err(problem("streams; tokens are in one message".to_owned()));
        }
        let token = |message: MessageId, name: &str| {
            let message = schema.message(message);
            let field = message.slot_declared(name).map(|slot| &message.fields[slot]);
            match field {
                None => Ok(None),
                Some(field) if field.kind == Kind::String && field.shape == Shape::Singular => Ok(Some(field.number)),
                Some(_) => Err(problem(format!("{}.{name} is no single text", message.name))),
            }
        };
        let needed = |number: Option<u32>, message: MessageId, name: &str| {
            number.ok_or_else(|| problem(format!("{} has no field `{name}`", schema.message(message).name)))
        };
        let (access, renewing) = (&written.access_token.field, &written.refresh_token.field);
        let role = match login || refresh {
            true if written.issue.is_some() => {
                let why = |why| format!("{why}: clients that keep no cookies find the gateway's tokens there");
                let field = |name: &str| {
                    needed(token(method.output, name)?, method.output, name).map_err(|(place, told)| (place, why(told)))
                };
                Role::Issues { access: field(access)?, refresh: field(renewing)? }
            }
            true => Role::Opens {
                access: needed(token(method.output, access)?, method.output, access)?,
                refresh: token(method.output, renewing)?,
                renews: refresh,
            },
            false => Role::Closes,
        };
        let own = written.issue.is_some();
        let taken = if login || own { None } else { token(method.input, renewing)? };
        if refresh && !own {
            needed(taken, method.input, renewing)?;
        }
        Ok(Some(Self { cookies: Arc::new(Cookies::compile(written, &config.environment)), role, taken }))
    }

    /// The refresh token of a request's cookie, for its message.
    ///
    /// # Errors
    /// It is none; or a page of another origin has sent the request: it would choose whose session its visitor's browser
    /// keeps. A GET may come from elsewhere, as a link in a mail does: whether that is wanted, its service knows.
    pub fn take(&self, head: &Head<'_>) -> Result<Taken, Refusal> {
        if let Err(refusal) = own_page(head) {
            return if self.goes_without(head) { Ok(Taken::Nowhere) } else { Err(refusal) };
        }
        if self.taken.is_none() {
            return Ok(Taken::Cookie(None));
        }
        Ok(Taken::Cookie(self.cookies.taken(head)?.map(|token| token.into_owned().into())))
    }

    /// A page that `cors` lists without credentials holds its tokens itself, where it gets to see them.
    fn goes_without(&self, head: &Head<'_>) -> bool {
        let seen = !self.cookies.remove || self.role == Role::Closes;
        let listed = head.cors.zip(head.headers.get(header::ORIGIN)).is_some_and(|(cors, page)| cors.lists(page));
        seen && listed
    }

    /// Puts it into the message behind `start`, unless the client sends one itself.
    pub fn put(&self, token: &str, message: &mut Vec<u8>, start: usize) {
        let mut sent = false;
        // A message that is broken is the service's to refuse.
        let _ = walk(&message[start..], |number, _, value| {
            sent |= self.taken == Some(number) && value.is_none_or(|value| !value.is_empty());
        });
        if !sent {
            self.ask(token, message);
        }
    }

    /// A request that trades this very refresh token for new tokens.
    pub fn trades(&self, token: &str, message: &[u8]) -> bool {
        let mut asked = None;
        let walked = walk(message, |number, _, value| {
            if self.taken == Some(number) {
                asked = value;
            }
        });
        self.renews() && walked.is_some() && asked == Some(token.as_bytes())
    }

    /// What becomes of a good answer; why not is for the log.
    ///
    /// # Errors
    /// Its tokens are no cookies.
    pub fn shape(&self, message: Bytes) -> Result<Shaped, Cow<'static, str>> {
        let (access, refresh) = match self.role {
            Role::Opens { access, refresh, .. } => (access, refresh),
            Role::Issues { .. } => return Ok(Shaped { message, cookies: Vec::new() }),
            Role::Closes => return Ok(Shaped { message, cookies: self.cleared().to_vec() }),
        };
        let mut kept = Vec::with_capacity(message.len());
        let mut tokens = [None, None];
        let walked = walk(&message, |number, record, value| {
            let at = if number == access { 0 } else { 1 };
            if number == access || Some(number) == refresh {
                tokens[at] = value;
            } else {
                kept.extend_from_slice(record);
            }
        });
        if walked.is_none() {
            return Err(Cow::Borrowed("the answer with the tokens is no message"));
        }
        let mut cookies = Vec::with_capacity(2);
        for (token, cookie) in tokens.into_iter().zip([&self.cookies.access, &self.cookies.refresh]) {
            // An answer without a token, such as one that asks for a second factor, opens nothing.
            let Some(token) = token.filter(|token| !token.is_empty()) else { continue };
            let header = cookie.set(token).ok_or_else(|| format!("the token for `{}` is no cookie", cookie.name))?;
            cookies.push(header);
        }
        let message = if self.cookies.remove { kept.into() } else { message };
        Ok(Shaped { message, cookies })
    }

    /// It trades a refresh token for new tokens.
    pub fn renews(&self) -> bool {
        matches!(self.role, Role::Opens { renews: true, .. })
    }

    /// Its request: a refresh token to be traded.
    pub fn ask(&self, token: &str, message: &mut Vec<u8>) {
        if let Some(number) = self.taken {
            text(number, token, message);
        }
    }

    /// The tokens of its answer; the refresh token is empty where the one before goes on. `None`: there are none.
    pub fn pair(&self, message: &[u8]) -> Option<Pair> {
        let Role::Opens { access, refresh, .. } = self.role else { return None };
        let mut pair = Pair { access: String::new(), refresh: String::new() };
        walk(message, |number, _, value| {
            let text = || value.and_then(|value| str::from_utf8(value).ok()).unwrap_or_default().to_owned();
            if number == access {
                pair.access = text();
            } else if Some(number) == refresh {
                pair.refresh = text();
            }
        })?;
        (!pair.access.is_empty()).then_some(pair)
    }

    /// Its answer gets tokens of the gateway's own.
    pub fn issues(&self) -> bool {
        matches!(self.role, Role::Issues { .. })
    }

    /// What becomes of an answer that opens a session of the gateway's own. Clients without cookies read its tokens.
    ///
    /// # Errors
    /// As [`Session::shape`].
    pub fn give(&self, message: Bytes, pair: &Pair, cookies: bool) -> Result<Shaped, Cow<'static, str>> {
        let Role::Issues { access, refresh } = self.role else { return Ok(Shaped { message, cookies: Vec::new() }) };
        let mut given = Vec::with_capacity(message.len() + pair.access.len() + pair.refresh.len() + 16);
        let walked = walk(&message, |number, record, _| {
            if number != access && number != refresh {
                given.extend_from_slice(record);
            }
        });
        if walked.is_none() {
            return Err(Cow::Borrowed("the answer that opens a session is no message"));
        }
        if !cookies || !self.cookies.remove {
            text(access, &pair.access, &mut given);
            text(refresh, &pair.refresh, &mut given);
        }
        let cookies = if cookies { self.cookies.of(pair)? } else { Vec::new() };
        Ok(Shaped { message: given.into(), cookies })
    }

    /// Its cookies.
    pub fn cookies(&self) -> &Arc<Cookies> {
        &self.cookies
    }

    /// Who it answers has no session any more.
    pub fn closes(&self) -> bool {
        self.role == Role::Closes
    }

    /// The refresh token is good no more: so this code says, of who tried to renew with it.
    pub fn ends(&self, code: Code) -> bool {
        matches!(self.role, Role::Opens { renews: true, .. })
            && matches!(code, Code::Unauthenticated | Code::PermissionDenied | Code::NotFound | Code::InvalidArgument)
    }

    /// Clears both cookies.
    pub fn cleared(&self) -> [HeaderValue; 2] {
        self.cookies.cleared()
    }
}

impl Cookies {
    /// Sets both, or the one that is new.
    ///
    /// # Errors
    /// A token is too long for a cookie.
    pub fn of(&self, pair: &Pair) -> Result<Vec<HeaderValue>, Cow<'static, str>> {
        let set = |cookie: &Cookie, token: &str| {
            cookie
                .set(token.as_bytes())
                .ok_or_else(|| Cow::Owned(format!("the token for `{}` is no cookie", cookie.name)))
        };
        let both = [(&self.access, &pair.access), (&self.refresh, &pair.refresh)];
        both.into_iter().filter(|(_, token)| !token.is_empty()).map(|(cookie, token)| set(cookie, token)).collect()
    }

    /// Clears both, with the attributes that they were set with.
    pub fn cleared(&self) -> [HeaderValue; 2] {
        [self.access.clear(), self.refresh.clear()]
    }

    /// The refresh token of a request.
    ///
    /// # Errors
    /// It is none, or a page of another origin has sent it.
    pub fn taken<'h>(&self, head: &Head<'h>) -> Result<Option<Cow<'h, str>>, Refusal> {
        cookie(head, &self.refresh.name).map_err(|refusal| refusal.of_token(TokenKind::Refresh))
    }

    /// Those of a configuration.
    pub fn compile(written: &config::Sessions, environment: &str) -> Self {
        let (secure, same_site) = written.attributes(environment);
        let secure = if secure { "; Secure" } else { "" };
        let partitioned = if written.partitioned { "; Partitioned" } else { "" };
        let same_site = same_site.name();
        let attributes =
            |path: &str| format!("; Path={path}; HttpOnly{secure}; SameSite={same_site}{partitioned}").into();
        let (access, refresh) = (&written.access_token, &written.refresh_token);
        Self {
            access: Cookie {
                name: access.cookie.as_str().into(),
                attributes: attributes(&access.path),
                max_age: access.max_age.as_secs(),
            },
            refresh: Cookie {
                name: refresh.cookie.as_str().into(),
                attributes: attributes(&refresh.path),
                max_age: refresh.max_age.as_secs(),
            },
            remove: written.in_body == InBody::Remove,
        }
    }
}

impl Cookie {
    /// `None`: the token has characters that no cookie has, or is too long.
    fn set(&self, token: &[u8]) -> Option<HeaderValue> {
        let plain = token.iter().all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(byte));
        let token = str::from_utf8(token).ok().filter(|_| plain)?;
        let header = format!("{}={token}; Max-Age={}{}", self.name, self.max_age, self.attributes);
        let mut header = HeaderValue::try_from(header).ok().filter(|header| header.len() <= LARGEST)?;
        header.set_sensitive(true);
        Some(header)
    }

    #[expect(clippy::expect_used, reason = "the configuration took the name and the path for what they are")]
    fn clear(&self) -> HeaderValue {
        HeaderValue::try_from(format!("{}=; Max-Age=0{}", self.name, self.attributes)).expect("ASCII")
    }
}

/// A text as a record of a message.
fn text(number: u32, text: &str, out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

/// Gives every field of a message: its number, its record and, of those with a length, its value.
fn walk<'m>(mut message: &'m [u8], mut give: impl FnMut(u32, &'m [u8], Option<&'m [u8]>)) -> Option<()> {
    while !message.is_empty() {
        let start = message;
        let (number, wire_type) = decode_key(&mut message).ok()?;
        let mut value = message;
        skip_field(wire_type, number, &mut message, DecodeContext::default()).ok()?;
        let value = match wire_type {
            WireType::LengthDelimited => {
                let length = usize::try_from(decode_varint(&mut value).ok()?).ok()?;
                value.get(..length)
            }
            _ => None,
        };
        give(number, &start[..start.len() - message.len()], value);
    }
    Some(())
}
