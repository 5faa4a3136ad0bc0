//! `redis`: where gateways share what they count and remember.

use redis::IntoConnectionInfo as _;

use super::auth::Secret;
use super::kind::{Kind as _, checked, flag, secret};
use super::read::section;

section! {
    /// The Redis that all gateways of a system share.
    pub struct Redis {
        /// `redis://HOST:PORT/DATABASE`; none: everything is kept in this process.
        url: Option<String> = checked("a URL such as `redis://redis:6379`", url).optional(),
        /// Its password. Another one takes a reload, no restart: connections are made by it from then on.
        password: Option<Secret> = secret("a secret").optional(),
        /// It is a Redis Cluster; `url` names one of its nodes.
        cluster: bool = flag().or("false"),
    }
}

/// What the client library takes, and no secret: `/config` shows it.
fn url(text: &str) -> Result<String, String> {
    // It is not repeated: where a password stands in what is no URL, nobody knows.
    if text.starts_with("rediss://") {
        let told =
            "asks for TLS, which is not supported to Redis by this version of Transom; write `redis://HOST:PORT`";
        return Err(told.to_owned());
    }
    match text.into_connection_info() {
        Ok(info) if info.redis_settings().password().is_some() => {
            Err("holds a password; write that as `redis.password`, where it stays secret".to_owned())
        }
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("is no Redis URL; write `redis://HOST:PORT` or `redis+unix:///PATH`".to_owned()),
    }
}
