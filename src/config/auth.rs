//! `auth`: how callers prove who they are, and what of that crosses to the services.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::HeaderName;
use http::{StatusCode, Uri};

use super::connect::ConnectToken;
use super::kind::{self, Kind, Shape, checked, choice, duration, flag, list, map, path, secret, several};
use super::problem::quote;
use super::read::{Reader, choice, section};
use super::tree::{Node, Value};
use super::upstream::{is_full_name, is_identifier};
use super::{HOUR, MILLISECOND};

/// A second.
const SECOND: Duration = Duration::from_secs(1);

section! {
    /// Who may call. Once this section is there, every exposed method needs a token unless `methods.*.auth` says otherwise.
    pub struct Auth {
        /// Verifies tokens here, by signature: one issuer, or a list of them.
        jwt: Vec<Jwt> = several(kind::section()).or("[]"),
        /// Asks a service about each token instead.
        verify: Option<Verify> = kind::section().optional(),
        /// Where a token may be: `bearer`, `{cookie: NAME}`, or `{query: NAME}`, which counts for WebSockets alone. The first
        /// one that is there decides.
        sources: Vec<TokenSource> = list(Sources).not_empty().or("bearer"),
        /// Claims that cross as metadata: claim → header. What clients send under these names never crosses.
        inject: BTreeMap<String, HeaderName> =
            map("a claim such as `sub` or `realm_access.roles`", check_claim, checked("a header such as `x-user-id`", header)).or("{}"),
        /// The verified token crosses as `authorization: Bearer`, wherever it came from; `false`: no token crosses.
        forward: bool = flag().or("true"),
        /// The HTTP status of a REST answer to a token that is invalid or expired; a missing one is always 401.
        invalid_status: InvalidStatus = choice().or("401"),
        /// The claim that names the user.
        user: String = checked("a claim", claim).or("sub"),
        /// The claim that lists roles: a list, or one text with spaces.
        roles: String = checked("a claim", claim).or("roles"),
        /// The claim that lists scopes: one text with spaces (RFC 8693), or a list.
        scopes: String = checked("a claim", claim).or("scope"),
        /// Tells access tokens from tokens of another kind that the same key signs.
        token_type: TokenType = kind::section().or("{}"),
        /// The RPC that logs out, `pkg.Service/Method`, one that streams nothing: once it has succeeded, its caller's token is
        /// refused, and every token of the same session (`sid`), at every gateway of the `redis`; 503 where that cannot be told.
        logout: Option<String> = checked("a method such as `auth.AuthService/Logout`", rpc).optional(),
        /// How long that holds for a token that no `exp` ends (one that a service judges), and for a session whose tokens do not say how long they live (`iat` and `exp`).
        logout_lasts: Duration = duration(SECOND..=400 * 24 * HOUR).or("720h"),
        /// What becomes of tokens while the `redis` that tells of revoked ones does not answer. Without one, each gateway knows
        /// of its own logouts.
        on_store_failure: OnDeaf = choice().or("allow"),
        /// Tokens that open one WebSocket each, by their type: what the claim of `token_type` says in them.
        connect_tokens: BTreeMap<String, ConnectToken> =
            map("a type such as `ws-connect`", check_type, kind::section()).or("{}"),
    }
}

section! {
    /// One issuer of tokens: a key and what its tokens must say. One of `secret`, `key` and `jwks`; with none of them no token
    /// is good.
    pub struct Jwt {
        /// The secret of HS256, HS384 and HS512.
        secret: Option<Secret> = secret("a secret").optional(),
        /// The public key in PEM: a file, relative ones start at the configuration file's folder; or
        /// the text itself.
        key: Option<PathBuf> = path("a PEM file").optional(),
        /// Where the issuer publishes its keys (RFC 7517): `https://…`, `http://…`, or a file.
        jwks: Option<Jwks> = checked("a URL such as `https://id.example.com/jwks.json`, or a file", jwks).optional(),
        /// Authorities, in PEM, that a `jwks` by `https` must be of; by default those that the system trusts.
        ca: Option<PathBuf> = path("a PEM file").optional(),
        /// From one fetch of `jwks` to the next. An unknown `kid` fetches sooner.
        jwks_refresh: Duration = duration(SECOND..=24 * HOUR).or("5m"),
        /// The least time between two fetches of `jwks`, however many unknown keys are asked for.
        jwks_cooldown: Duration = duration(100 * MILLISECOND..=HOUR).or("10s"),
        /// The algorithms that its tokens may use; by default HS256 for a secret, and for other keys the one that the key
        /// names or RS256, ES256, ES384 or EdDSA by its type. ES512 (P-521) is not supported: a key of that curve is none.
        algorithms: Vec<Algorithm> = list(choice()).or("[]"),
        /// `iss` must be one of these; with several issuers it chooses the key. One without a name takes the tokens whose `iss` no other is named.
        issuer: Vec<String> = list(kind::text("an issuer")).or("[]"),
        /// `aud` must name one of these. Without it, tokens that name any audience are refused (RFC 7519 §4.1.3).
        audience: Vec<String> = list(kind::text("an audience")).or("[]"),
        /// How far clocks may differ.
        leeway: Duration = duration(Duration::ZERO..=HOUR).or("5s"),
        /// Claims that must be there, besides `exp`.
        required_claims: Vec<String> = list(checked("a claim", claim)).or("[]"),
    }
}

section! {
    /// A service that judges tokens. Exactly one of `rpc` and `url`. Without an answer nobody passes, nor by one that neither says that the token is good
    /// (`valid`) nor whose it is (`auth.user`).
    pub struct Verify {
        /// A unary RPC of an upstream, `pkg.Service/Method`. Its reply's fields, by their names in the .proto, are the claims. `UNAUTHENTICATED`, `PERMISSION_DENIED` and `INVALID_ARGUMENT` refuse.
        rpc: Option<String> = checked("a method such as `auth.AuthService/ValidateToken`", rpc).optional(),
        /// The field of the RPC's request that takes the token, or of the JSON that POST sends.
        field: String = checked("a field", field).or("token"),
        /// The field of the answer that must be there, and be true. By default `valid` and `active` (RFC 7662): true where they are there. `active: false` refuses whatever is written here.
        valid: Option<String> = checked("a field", field).optional(),
        /// The status alone lets a token in, where the answer is silent or empty: nothing need say that it is good, nor whose it is.
        by_status: bool = flag().or("false"),
        /// The field of the answer that says when the token expires: seconds since 1970, as a number or a text, or RFC 3339, as a `google.protobuf.Timestamp` is written. What is none of these refuses; zero, and an empty text, say nothing.
        expires: String = checked("a field", claim).or("exp"),
        /// An HTTP endpoint: it gets the token as `authorization: Bearer`. The members of the JSON object that it answers with 2xx
        /// are the claims; 400, 401, 403, 404 and 498 refuse. It is not asked by a form (RFC 7662 §2.1), only as `method` says.
        url: Option<Uri> = checked("a URL such as `http://auth:8000/verify`", url).optional(),
        /// Authorities, in PEM, that a `url` by `https` must be of; by default those that the system trusts.
        ca: Option<PathBuf> = path("a PEM file").optional(),
        /// How `url` is asked.
        method: VerifyMethod = choice().or("GET"),
        /// How long an answer is waited for.
        timeout: Duration = duration(MILLISECOND..=60 * SECOND).or("2s"),
        /// How long a good answer holds, never beyond what `expires` names.
        cache: Duration = duration(Duration::ZERO..=HOUR).or("10s"),
        /// How long a refusal holds.
        cache_refusals: Duration = duration(Duration::ZERO..=HOUR).or("2s"),
    }
}

section! {
    /// Tokens of one key are not all access tokens: refresh tokens and tokens that open a WebSocket say so in a claim.
    pub struct TokenType {
        /// The claim.
        claim: String = checked("a claim", claim).or("type"),
        /// Its values in tokens that are no access tokens.
        refused: Vec<String> = list(kind::text("a value")).or("refresh, ws-connect"),
        /// Its values in access tokens; empty: every other. A token without the claim is an access token.
        accepted: Vec<String> = list(kind::text("a value")).or("[]"),
    }
}

impl TokenType {
    /// The value in access tokens that the gateway signs itself.
    pub fn own(&self) -> &str {
        self.accepted.first().map_or("access", String::as_str)
    }
}

choice! {
    /// A signature algorithm (RFC 7518, RFC 8037).
    pub enum Algorithm {
        /// HMAC with SHA-256.
        Hs256 = "HS256",
        /// HMAC with SHA-384.
        Hs384 = "HS384",
        /// HMAC with SHA-512.
        Hs512 = "HS512",
        /// RSASSA-PKCS1-v1_5 with SHA-256.
        Rs256 = "RS256",
        /// RSASSA-PKCS1-v1_5 with SHA-384.
        Rs384 = "RS384",
        /// RSASSA-PKCS1-v1_5 with SHA-512.
        Rs512 = "RS512",
        /// RSASSA-PSS with SHA-256.
        Ps256 = "PS256",
        /// RSASSA-PSS with SHA-384.
        Ps384 = "PS384",
        /// RSASSA-PSS with SHA-512.
        Ps512 = "PS512",
        /// ECDSA on P-256 with SHA-256.
        Es256 = "ES256",
        /// ECDSA on P-384 with SHA-384.
        Es384 = "ES384",
        /// Ed25519.
        EdDsa = "EdDSA",
    }
}

choice! {
    /// How a verify endpoint is asked.
    pub enum VerifyMethod {
        /// Without a body.
        Get = "GET",
        /// The token is in a JSON object too.
        Post = "POST",
    }
}

choice! {
    /// What becomes of tokens that may have been revoked elsewhere.
    pub enum OnDeaf {
        /// They are good, unless this gateway knows better.
        Allow = "allow",
        /// Nobody passes: 503.
        Deny = "deny",
    }
}

choice! {
    /// The HTTP status for tokens that are invalid or expired.
    pub enum InvalidStatus {
        /// Unauthorized.
        Unauthorized = "401",
        /// Invalid Token, as some systems have it.
        InvalidToken = "498",
    }
}

impl Algorithm {
    /// Its key is a secret, and never published.
    pub fn is_of_secret(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }
}

impl Auth {
    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let authorities = self.jwt.iter().map(|jwt| &jwt.ca).chain(self.verify.iter().map(|verify| &verify.ca));
        let keys = self.jwt.iter().filter_map(|jwt| match (&jwt.key, &jwt.jwks) {
            (Some(key), _) if !is_pem(key) => Some(key.as_path()),
            (None, Some(Jwks::File(path))) => Some(path.as_path()),
            _ => None,
        });
        keys.chain(authorities.flatten().map(PathBuf::as_path))
    }
}

/// Whether what stands in place of a file's name is a key itself.
pub fn is_pem(key: &Path) -> bool {
    key.to_string_lossy().trim_start().starts_with("-----BEGIN")
}

impl InvalidStatus {
    /// The status itself.
    pub fn status(self) -> StatusCode {
        let status = match self {
            Self::Unauthorized => 401,
            Self::InvalidToken => 498,
        };
        StatusCode::from_u16(status).unwrap_or(StatusCode::UNAUTHORIZED)
    }
}

/// A text that shows itself nowhere but where it is used.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Deref for Secret {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where a token may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// `authorization: Bearer …` (RFC 6750).
    Bearer,
    /// A cookie of this name.
    Cookie(String),
    /// A query parameter of this name, in requests for a WebSocket alone: URLs are logged and kept in histories.
    Query(String),
}

/// Where an issuer publishes its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Jwks {
    /// Fetched, and fetched again.
    Url(Uri),
    /// Read at start.
    File(PathBuf),
}

/// `bearer`, `{cookie: NAME}` or `{query: NAME}`.
struct Sources;

section! {
    /// A source that has a name.
    pub(super) struct SourceKeys {
        /// A cookie of this name.
        cookie: Option<String> = checked("a cookie's name", token).optional(),
        /// A query parameter of this name; for WebSockets alone.
        query: Option<String> = checked("a parameter's name", token).optional(),
    }
}

impl Kind for Sources {
    type Out = TokenSource;

    fn read(&self, node: &Node, reader: &mut Reader) -> Option<TokenSource> {
        let Value::Map(entries) = &node.value else { return word().read(node, reader) };
        match reader.section::<SourceKeys>(node.line, entries) {
            SourceKeys { cookie: Some(name), query: None } => Some(TokenSource::Cookie(name)),
            SourceKeys { cookie: None, query: Some(name) } => Some(TokenSource::Query(name)),
            SourceKeys { .. } => {
                reader.tell(node.line, "is not one source; write `{cookie: NAME}` or `{query: NAME}`");
                None
            }
        }
    }

    fn shape(&self) -> Shape {
        Shape::Either(Box::new(word().shape()), Box::new(kind::section::<SourceKeys>().shape()))
    }
}

fn word() -> kind::Single<TokenSource> {
    checked("`bearer`", |text| match text {
        "bearer" => Ok(TokenSource::Bearer),
        _ => Err(format!("{} is not a source; write `bearer`, `{{cookie: NAME}}` or `{{query: NAME}}`", quote(text))),
    })
}

/// A claim's name, or a path into claims with dots.
pub(super) fn claim(text: &str) -> Result<String, String> {
    check_claim(text).map(|()| text.to_owned()).map_err(|message| format!("{} {message}", quote(text)))
}

pub(super) fn check_claim(text: &str) -> Result<(), String> {
    const LONGEST: usize = 256;
    let plain = |byte: u8| byte.is_ascii_graphic();
    if (1..=LONGEST).contains(&text.len()) && text.bytes().all(plain) {
        Ok(())
    } else {
        Err("is not a claim; write a name such as `sub`, or a path such as `realm_access.roles`".to_owned())
    }
}

/// A type of tokens.
fn check_type(text: &str) -> Result<(), String> {
    token(text).map(drop).map_err(|_| "is not a type; write a word such as `ws-connect`".to_owned())
}

/// A token of RFC 9110: what names of cookies, and of parameters that need no escapes, consist of.
pub(super) fn token(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if (1..=128).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(format!("{} is not a name; write letters, digits, `-`, `_` or `.`", quote(text)))
    }
}

fn field(text: &str) -> Result<String, String> {
    if is_identifier(text) { Ok(text.to_owned()) } else { Err(format!("{} is not a field's name", quote(text))) }
}

/// Names of headers that mean something to HTTP, to gRPC or to the gateway carry no claims.
fn header(text: &str) -> Result<HeaderName, String> {
    const RESERVED: [&str; 13] = [
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-request-id",
    ];
    let name = HeaderName::try_from(text).map_err(|_| format!("{} is not a header's name", quote(text)))?;
    let reserved = RESERVED.contains(&name.as_str())
        || ["grpc-", "proxy-", "x-forwarded-"].iter().any(|prefix| name.as_str().starts_with(prefix));
    if reserved { Err(format!("{} has a meaning of its own; choose another header", quote(text))) } else { Ok(name) }
}

pub(super) fn rpc(text: &str) -> Result<String, String> {
    match text.split_once('/') {
        Some((service, method)) if is_full_name(service) && is_identifier(method) => Ok(text.to_owned()),
        _ => Err(format!("{} is not a method; write `pkg.Service/Method`", quote(text))),
    }
}

pub(super) fn url(text: &str) -> Result<Uri, String> {
    let wrong = || format!("{} is not a URL; write `https://host/path` or `http://host/path`", quote(text));
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let plain = matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    if plain { Ok(uri) } else { Err(wrong()) }
}

fn jwks(text: &str) -> Result<Jwks, String> {
    if text.contains("://") {
        return url(text).map(Jwks::Url);
    }
    if text.contains('\0') { Err("a path holds no NUL".to_owned()) } else { Ok(Jwks::File(PathBuf::from(text))) }
}

/// RFC 6749, 3.3: what a token lists has spaces between its scopes, so that none has one within.
fn scope(text: &str) -> Result<String, String> {
    if text.contains(char::is_whitespace) {
        let list: Vec<_> = text.split_whitespace().collect();
        return Err(format!("{} are several scopes; write a list: `[{}]`", quote(text), list.join(", ")));
    }
    Ok(text.to_owned())
}

section! {
    /// What a caller of the method must have, beside a token.
    pub struct Requirements {
        /// Scopes that the token must have, all of them.
        scopes: Vec<String> = list(checked("a scope", scope)).or("[]"),
        /// Roles of which the token must have one.
        roles: Vec<String> = list(kind::text("a role")).or("[]"),
        /// Claims that the token must have, each with one of these values; of a claim that is a list, one item counts.
        claims: BTreeMap<String, Vec<String>> =
            map("a claim", check_claim, list(kind::text("a value")).not_empty()).or("{}"),
        /// `iss` must be one of these.
        issuer: Vec<String> = list(kind::text("an issuer")).or("[]"),
        /// `aud` must name one of these.
        audience: Vec<String> = list(kind::text("an audience")).or("[]"),
        /// WebSockets are opened by a token of this type alone, one of `auth.connect_tokens`; what is asked above, that token must have. Without a WebSocket the method takes access tokens, as ever.
        connect_token: Option<String> = kind::text("a type such as `ws-connect`").optional(),
    }
}

impl Eq for Requirements {}

impl Default for Requirements {
    /// A token, and nothing more.
    fn default() -> Self {
        Reader::default().section(0, &[])
    }
}

/// Who may call a method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Everyone.
    Public,
    /// Who has a token that is good for this.
    Required(Requirements),
}

impl Access {
    /// Who has a token, whatever it says.
    pub fn token() -> Self {
        Self::Required(Requirements::default())
    }
}

choice! {
    /// Who may call a method, in a word.
    pub(super) enum AccessWord {
        /// Everyone.
        Public = "public",
        /// Who has a token.
        Required = "required",
    }
}

/// `public`, `required`, or a map of requirements.
pub(super) struct Accesses;

impl Kind for Accesses {
    type Out = Access;

    fn read(&self, node: &Node, reader: &mut Reader) -> Option<Access> {
        match &node.value {
            Value::Map(entries) => Some(Access::Required(reader.section(node.line, entries))),
            _ => choice::<AccessWord>().read(node, reader).map(|word| match word {
                AccessWord::Public => Access::Public,
                AccessWord::Required => Access::Required(Requirements::default()),
            }),
        }
    }

    fn shape(&self) -> Shape {
        let keys = kind::section::<Requirements>().shape();
        Shape::Either(Box::new(choice::<AccessWord>().shape()), Box::new(keys))
    }
}

/// A field of the request, `user_id` or `owner.user_id`.
pub(super) fn check_field(text: &str) -> Result<(), String> {
    if is_full_name(text) {
        Ok(())
    } else {
        Err("is not a field; write its name in the .proto, with dots between".to_owned())
    }
}
