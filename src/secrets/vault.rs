//! A Vault's HTTP interface: log in, renew, read a KV engine of version 2.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

use super::needed;
use crate::config::{self, Secret, Vault};
use crate::fetch::Fetch;

/// How long one answer may take, and how large it may be.
const PATIENCE: Duration = Duration::from_secs(5);
const LARGEST: usize = 1 << 20;

/// Why a secret is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unread {
    /// The Vault does not answer, or says that it cannot: it may be only a moment.
    Silent(String),
    /// It says no, or its answer is of no use.
    Refused(String),
}

impl Unread {
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Silent(why) | Self::Refused(why) => why,
        }
    }

    /// What a status says that is none of those that are expected.
    fn of(status: StatusCode, why: String) -> Self {
        let passes = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        if passes { Self::Silent(why) } else { Self::Refused(why) }
    }
}

impl From<&str> for Unread {
    fn from(why: &str) -> Self {
        Self::Refused(why.to_owned())
    }
}

impl From<String> for Unread {
    fn from(why: String) -> Self {
        Self::Refused(why)
    }
}

/// What a reading has brought.
#[derive(Default)]
pub(super) struct Found {
    pub(super) secrets: BTreeMap<String, Secret>,
    /// What is not there, and why.
    pub(super) unread: BTreeMap<String, Unread>,
}

/// A token that was given for what the configuration proves, and for which one.
#[derive(Default)]
pub(super) struct Session(Mutex<Option<(Vault, Secret)>>);

impl Session {
    fn token(&self, vault: &Vault) -> Option<Secret> {
        self.0.lock().as_ref().filter(|(of, _)| of == vault).map(|(_, token)| token.clone())
    }
}

#[derive(Deserialize)]
struct Login {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    client_token: String,
    /// Seconds that the token lives from now on.
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
}

#[derive(Deserialize)]
struct Read {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    data: BTreeMap<String, Value>,
}

/// Reads what `names` stand for, each path once. Who does not answer is not asked for the next. Relative paths of files start at
/// `folder`.
pub(super) async fn read((vault, folder): (&Vault, &Path), session: &Session, names: &BTreeSet<String>) -> Found {
    let client = match Client::new(vault, folder) {
        Ok(client) => client,
        Err(why) => {
            let unread = Unread::Refused(format!("secrets.vault.ca: {why}"));
            let unread = names.first().map(|name| (name.clone(), unread)).into_iter().collect();
            return Found { unread, ..Found::default() };
        }
    };
    let mut paths: BTreeMap<&str, Result<BTreeMap<String, Value>, Unread>> = BTreeMap::new();
    let (mut found, mut silent) = (Found::default(), None);
    for name in names {
        let place = name.strip_prefix("vault:").and_then(|place| place.split_once('#'));
        let Some((path, key)) = place.filter(|(path, _)| path.contains('/')) else {
            let why = format!("`{name}` names no secret; write `vault:MOUNT/PATH#KEY`");
            found.unread.insert(name.clone(), Unread::Refused(why));
            continue;
        };
        if !paths.contains_key(path) {
            let read = match &silent {
                None => client.read(session, path).await,
                Some(why) => Err(Unread::Silent(String::clone(why))),
            };
            if let Err(Unread::Silent(why)) = &read {
                silent = Some(why.clone());
            }
            paths.insert(path, read);
        }
        let unread = match &paths[path] {
            Ok(data) => match data.get(key) {
                Some(Value::String(text)) => {
                    found.secrets.insert(name.clone(), Secret::from(super::unbroken(text).to_owned()));
                    continue;
                }
                Some(_) => Unread::Refused(format!("`{name}` is no text")),
                None => Unread::Refused(format!("`{name}`: the secret has no such key")),
            },
            Err(Unread::Silent(why)) => Unread::Silent(format!("`{name}` cannot be read: {why}")),
            Err(Unread::Refused(why)) => Unread::Refused(format!("`{name}` cannot be read: {why}")),
        };
        found.unread.insert(name.clone(), unread);
    }
    found
}

/// Makes the token live longer, where it can: how long, if it will ever end. What comes of one that ended, the next reading
/// says.
pub(super) async fn renew((vault, folder): (&Vault, &Path), session: &Session) -> Option<Duration> {
    let client = Client::new(vault, folder).ok()?;
    let token = client.token(session).await.ok()?;
    let renewed = client.ask(Method::POST, "auth/token/renew-self", Some(&token), Some(json!({}))).await;
    match renewed {
        Ok((StatusCode::OK, body)) => {
            let Login { auth } = serde_json::from_slice(&body).ok()?;
            Some(Duration::from_secs(auth.lease_duration)).filter(|life| auth.renewable && !life.is_zero())
        }
        Ok((status, _)) => {
            tracing::debug!("the Vault's token is not renewed: {status}");
            (status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS).then_some(PATIENCE)
        }
        Err(why) => {
            tracing::debug!("the Vault's token is not renewed: {}", why.into_text());
            // It may be only a moment.
            Some(PATIENCE)
        }
    }
}

struct Client<'a> {
    vault: &'a Vault,
    fetch: Fetch,
}

impl<'a> Client<'a> {
    fn new(vault: &'a Vault, folder: &Path) -> Result<Self, String> {
        let ca = vault.ca.as_ref().map(|ca| folder.join(ca));
        Ok(Self { vault, fetch: Fetch::trusting(ca.as_deref())? })
    }

    async fn read(&self, session: &Session, path: &str) -> Result<BTreeMap<String, Value>, Unread> {
        let (mount, rest) = path.split_once('/').unwrap_or((path, ""));
        let place = format!("{mount}/data/{rest}");
        let token = self.token(session).await?;
        let mut answer = self.ask(Method::GET, &place, Some(&token), None).await?;
        if answer.0 == StatusCode::FORBIDDEN && self.vault.token.is_none() {
            // Its time was over: one more login decides.
            *session.0.lock() = None;
            let token = self.token(session).await?;
            answer = self.ask(Method::GET, &place, Some(&token), None).await?;
        }
        match answer {
            (StatusCode::OK, body) => {
                let read: Read =
                    serde_json::from_slice(&body).map_err(|_| "the answer is not that of a KV engine, version 2")?;
                Ok(read.data.data)
            }
            (StatusCode::NOT_FOUND, _) => Err("there is no such secret".into()),
            (StatusCode::FORBIDDEN, _) => Err("the Vault does not allow it".into()),
            (status, _) => Err(Unread::of(status, format!("the Vault answered {status}"))),
        }
    }

    /// The token to read with; what proves who we are buys one.
    async fn token(&self, session: &Session) -> Result<Secret, Unread> {
        if let Some(token) = &self.vault.token {
            return Ok(token.clone());
        }
        if let Some(token) = session.token(self.vault) {
            return Ok(token);
        }
        let (mount, proof) = match (&self.vault.app_role, &self.vault.kubernetes) {
            (Some(role), _) => (&role.mount, json!({ "role_id": role.role_id, "secret_id": &*role.secret_id })),
            (None, Some(config::Kubernetes { role, token_file, mount })) => {
                (mount, json!({ "role": role, "jwt": needed(token_file)? }))
            }
            (None, None) => return Err("nothing proves to the Vault who asks".into()),
        };
        let (status, body) = self.ask(Method::POST, &format!("auth/{mount}/login"), None, Some(proof)).await?;
        if status != StatusCode::OK {
            return Err(Unread::of(status, format!("the Vault refused the login by {mount}: {status}")));
        }
        let login: Login = serde_json::from_slice(&body).map_err(|_| "the Vault's login has no token")?;
        let token = Secret::from(login.auth.client_token);
        *session.0.lock() = Some((self.vault.clone(), token.clone()));
        Ok(token)
    }

    /// One request. Its errors name neither token nor body.
    async fn ask(
        &self,
        method: Method,
        place: &str,
        token: Option<&Secret>,
        body: Option<Value>,
    ) -> Result<(StatusCode, Bytes), Unread> {
        let base = self.vault.address.to_string();
        let uri: Uri =
            format!("{}/v1/{place}", base.trim_end_matches('/')).parse().map_err(|_| format!("{place} is no path"))?;
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(token) = token {
            request = request.header("x-vault-token", &**token);
        }
        if let Some(namespace) = &self.vault.namespace {
            request = request.header("x-vault-namespace", namespace);
        }
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let request = request.body(body).map_err(|_| "the token or the namespace is no header's value".to_owned())?;
        let answer = self.fetch.send(request, PATIENCE, LARGEST).await;
        let answer = answer.map_err(|failure| Unread::Silent(failure.to_string()))?;
        Ok((answer.status(), answer.into_body()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use axum::Router;
    use axum::routing::post;
    use parking_lot::Mutex;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_renewal_is_tried_again_unless_the_vault_says_no() {
        let good = json!({ "auth": { "client_token": "t", "lease_duration": 60, "renewable": true } }).to_string();
        let answers = [(503, ""), (500, ""), (429, ""), (200, &*good), (403, ""), (404, "")];
        let left: VecDeque<_> = answers.map(|(status, body)| (status, body.to_owned())).into();
        let left = Arc::new(Mutex::new(left));
        let answer = move || async move {
            let (status, body) = left.lock().pop_front().unwrap();
            (StatusCode::from_u16(status).unwrap(), body)
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/v1/auth/token/renew-self", post(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let text = format!(
            "schema: {{ descriptor_sets: [a] }}\nupstreams: {{ a: {{ services: [a.B], endpoints: [\"a:1\"] }} }}\n\
             secrets: {{ vault: {{ address: \"http://{address}\", token: t }} }}"
        );
        let vault = config::parse(&text, &|_| None).unwrap().secrets.vault.unwrap();
        let session = Session::default();
        for again in [Some(PATIENCE), Some(PATIENCE), Some(PATIENCE), Some(Duration::from_secs(60)), None, None] {
            assert_eq!(renew((&vault, Path::new("")), &session).await, again);
        }
    }
}
