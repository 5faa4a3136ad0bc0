//! `auth.connect_tokens`: tokens that open one WebSocket, once.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use serde_json::{Value as Json, json};

use super::HOUR;
use super::auth::{Secret, check_claim, claim, token};
use super::fallback::Jsons;
use super::kind::{Kind as _, checked, choice, duration, list, map, secret};
use super::problem::quote;
use super::read::{choice, section};

/// A second.
const SECOND: Duration = Duration::from_secs(1);

/// What stands in a response for the token.
const TOKEN: &str = "{token}";

section! {
    /// Tokens of one type, each good for opening one WebSocket: a page cannot send headers with one, and what stands in a URL is logged. Who has an access token gets one from a route of the gateway's own; methods whose `auth` names the type take it from the query of a WebSocket, once.
    pub struct ConnectToken {
        /// Where they are handed out, such as `/api/auth/ws-token`.
        path: String = checked("a path such as `/api/auth/ws-token`", path).required(),
        /// By which methods.
        methods: Vec<HandOut> = list(choice()).not_empty().or("GET, POST"),
        /// How long one is good for, if it is not used.
        ttl: Duration = duration(SECOND..=HOUR).or("10s"),
        /// The query's parameter that carries it.
        parameter: String = checked("a parameter's name", token).or("token"),
        /// What it says of its owner beside `sub` and `sid`: its claim → the access token's; by default `user_id: sub` and `login: login`. They cross as they are, numbers and lists too; `sub` is a text. What the access token lacks is left out.
        claims: Option<BTreeMap<String, String>> =
            map("a claim such as `user_id`", check_own_claim, checked("a claim such as `sub`", claim)).optional(),
        /// The answer's body, as JSON or as YAML; the text `{token}` in it is the token.
        response: Option<Json> = Jsons.optional(),
        /// What signs them, by HS256; by default the first `auth.jwt` with a `secret`, by its algorithm, `issuer` and `audience`. The services that share it can verify them too.
        secret: Option<Secret> = secret("a secret").optional(),
        /// The limits that handing out is under, by name; by default `users`, where there is one of that name.
        rate_limits: Option<Vec<String>> = list(checked("a limit's name", super::method::limit_name)).optional(),
    }
}

choice! {
    /// How a token is asked for.
    pub enum HandOut {
        /// As pages usually do.
        Get = "GET",
        /// By who holds that a GET changes nothing.
        Post = "POST",
    }
}

impl HandOut {
    /// The method itself.
    pub fn method(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Post => Method::POST,
        }
    }
}

impl ConnectToken {
    /// Its claims and where they come from.
    pub fn claims(&self) -> BTreeMap<String, String> {
        let usual = || [("user_id", "sub"), ("login", "login")].map(|(own, from)| (own.to_owned(), from.to_owned()));
        self.claims.clone().unwrap_or_else(|| usual().into())
    }

    /// The answer's body, in two parts that stand around the token.
    pub fn parts(&self) -> Option<(String, String)> {
        let body = self.response.clone().unwrap_or_else(|| json!({ "success": true, "token": TOKEN })).to_string();
        let (before, after) = body.split_once(TOKEN)?;
        (!after.contains(TOKEN)).then(|| (before.to_owned(), after.to_owned()))
    }
}

/// Claims that say what a token is are the gateway's to write.
fn check_own_claim(text: &str) -> Result<(), String> {
    const OWN: [&str; 9] = ["sub", "sid", "iss", "aud", "exp", "nbf", "iat", "jti", "type"];
    match OWN.contains(&text) {
        true => Err("is written by the gateway; choose another name".to_owned()),
        false => check_claim(text),
    }
}

/// A path without variables.
pub(super) fn path(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    match text.starts_with('/') && text.len() > 1 && !text.ends_with('/') && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err(format!("{} is not a path; write one such as `/api/auth/ws-token`", quote(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    fn read(more: &str) -> Result<Option<(String, String)>, String> {
        let text = format!(
            "schema: {{ descriptor_sets: [a] }}\nupstreams: {{ a: {{ endpoints: [\"a:1\"] }} }}\n\
             auth: {{ jwt: {{ secret: s }}, connect_tokens: {{ ws-connect: {more} }} }}\n"
        );
        match parse(&text, &|_| None) {
            Ok(config) => Ok(config.auth.unwrap().connect_tokens["ws-connect"].parts()),
            Err(problems) => Err(problems.to_string()),
        }
    }

    #[test]
    fn the_answer_is_what_stands_around_the_token() {
        let parts = |before: &str, after: &str| Ok(Some((before.to_owned(), after.to_owned())));
        assert_eq!(read("{ path: /t }"), parts(r#"{"success":true,"token":""#, r#""}"#));
        let own = "{ path: /t, response: { data: { connectToken: \"{token}\" }, n: 1 } }";
        assert_eq!(read(own), parts(r#"{"data":{"connectToken":""#, r#""},"n":1}"#));
        for (wrong, told) in [
            ("{}", "path"),
            ("{ path: t }", "is not a path"),
            ("{ path: \"/t/{id}\" }", "is not a path"),
            ("{ path: /t, response: { token: t } }", "`{token}` once"),
            ("{ path: /t, response: [\"{token}\", \"{token}\"] }", "`{token}` once"),
            ("{ path: /t, claims: { exp: sub } }", "written by the gateway"),
            ("{ path: /t, rate_limits: [none] }", "has no `none`"),
            ("{ path: /t, ttl: 2h }", "is not between"),
        ] {
            let problem = read(wrong).unwrap_err();
            assert!(problem.contains(told), "{problem}");
        }
    }
}
