//! A Vault's HTTP interface: log in, renew, read a KV engine of version 2.

use std::collections::{BTreeMap, BTreeSet};
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

/// Reads what `names` stand for, each path once.
pub(super) async fn read(
    vault: &Vault,
    session: &Session,
    names: &BTreeSet<String>,
) -> Result<BTreeMap<String, Secret>, Vec<String>> {
    let client = Client { vault, fetch: Fetch::default() };
    let mut paths: BTreeMap<&str, Result<BTreeMap<String, Value>, String>> = BTreeMap::new();
    let (mut found, mut wrong) = (BTreeMap::new(), Vec::new());
    for name in names {
        let place = name.strip_prefix("vault:").and_then(|place| place.split_once('#'));
        let Some((path, key)) = place.filter(|(path, _)| path.contains('/')) else {
            wrong.push(format!("`{name}` names no secret; write `vault:MOUNT/PATH#KEY`"));
            continue;
        };
        if !paths.contains_key(path) {
            paths.insert(path, client.read(session, path).await);
        }
        match &paths[path] {
            Ok(data) => match data.get(key) {
                Some(Value::String(text)) => {
                    drop(found.insert(name.clone(), Secret::from(super::unbroken(text).to_owned())))
                }
                Some(_) => wrong.push(format!("`{name}` is no text")),
                None => wrong.push(format!("`{name}`: the secret has no such key")),
            },
            Err(why) => wrong.push(format!("`{name}` cannot be read: {why}")),
        }
    }
    if wrong.is_empty() { Ok(found) } else { Err(wrong) }
}

/// Makes the token live longer, where it can: how long, if it will ever end. What comes of one that ended, the next reading
/// says.
pub(super) async fn renew(vault: &Vault, session: &Session) -> Option<Duration> {
    let client = Client { vault, fetch: Fetch::default() };
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
            tracing::debug!("the Vault's token is not renewed: {why}");
            // It may be only a moment.
            Some(PATIENCE)
        }
    }
}

struct Client<'a> {
    vault: &'a Vault,
    fetch: Fetch,
}

impl Client<'_> {
    async fn read(&self, session: &Session, path: &str) -> Result<BTreeMap<String, Value>, String> {
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
            (StatusCode::NOT_FOUND, _) => Err("there is no such secret".to_owned()),
            (StatusCode::FORBIDDEN, _) => Err("the Vault does not allow it".to_owned()),
            (status, _) => Err(format!("the Vault answered {status}")),
        }
    }

    /// The token to read with; what proves who we are buys one.
    async fn token(&self, session: &Session) -> Result<Secret, String> {
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
            (None, None) => return Err("nothing proves to the Vault who asks".to_owned()),
        };
        let (status, body) = self.ask(Method::POST, &format!("auth/{mount}/login"), None, Some(proof)).await?;
        if status != StatusCode::OK {
            return Err(format!("the Vault refused the login by {mount}: {status}"));
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
    ) -> Result<(StatusCode, Bytes), String> {
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
        let answer = self.fetch.send(request, PATIENCE, LARGEST).await.map_err(|failure| failure.to_string())?;
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
            assert_eq!(renew(&vault, &session).await, again);
        }
    }
}
