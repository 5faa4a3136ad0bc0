//! A method's `cors`, key by key.

use std::fmt::Display;
use std::time::Duration;

use http::Method;

use super::{Layers, Origin, Setting};
use crate::config::{self, AllowedHeader, AllowedOrigin};

/// Which pages of other origins may call; `None` is not said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Pages that may.
    pub origins: Setting<Option<Vec<AllowedOrigin>>>,
    /// HTTP methods that they may use.
    pub methods: Setting<Option<Vec<Method>>>,
    /// Headers that they may send.
    pub headers: Setting<Option<Vec<AllowedHeader>>>,
    /// Headers that they may read.
    pub expose: Setting<Option<Vec<AllowedHeader>>>,
    /// Whether cookies come with the calls.
    pub credentials: Setting<Option<bool>>,
    /// How long browsers may remember.
    pub max_age: Setting<Option<Duration>>,
}

impl Cors {
    pub(super) fn of(layers: &Layers<'_>) -> Self {
        Self {
            origins: setting(layers, "origins", |cors| cors.origins.clone()),
            methods: setting(layers, "methods", |cors| cors.methods.clone()),
            headers: setting(layers, "headers", |cors| cors.headers.clone()),
            expose: setting(layers, "expose", |cors| cors.expose.clone()),
            credentials: setting(layers, "credentials", |cors| cors.credentials),
            max_age: setting(layers, "max_age", |cors| cors.max_age),
        }
    }

    /// As one section would have said it.
    pub fn merged(&self) -> config::Cors {
        config::Cors {
            origins: self.origins.value.clone(),
            methods: self.methods.value.clone(),
            headers: self.headers.value.clone(),
            expose: self.expose.value.clone(),
            credentials: self.credentials.value,
            max_age: self.max_age.value,
        }
    }

    /// Name, value and origin of what is said.
    pub(super) fn describe(&self) -> impl Iterator<Item = (&'static str, String, &Origin)> {
        let max_age = self.max_age.value.map(|age| format!("{age:?}"));
        let rows = [
            ("cors.origins", list(self.origins.value.as_deref()), &self.origins.from),
            ("cors.methods", list(self.methods.value.as_deref()), &self.methods.from),
            ("cors.headers", list(self.headers.value.as_deref()), &self.headers.from),
            ("cors.expose", list(self.expose.value.as_deref()), &self.expose.from),
            ("cors.credentials", self.credentials.value.map(|flag| flag.to_string()), &self.credentials.from),
            ("cors.max_age", max_age, &self.max_age.from),
        ];
        rows.into_iter().filter_map(|(key, value, from)| Some((key, value?, from)))
    }
}

fn setting<T>(layers: &Layers<'_>, key: &str, pick: impl Fn(&config::Cors) -> Option<T>) -> Setting<Option<T>> {
    let keys = ["cors", key];
    let top = layers.top(&keys, pick(&layers.config.cors).map(Some));
    layers.method(&keys, |entry| pick(&entry.cors).map(Some), top, |_, _| false)
}

fn list<T: Display>(items: Option<&[T]>) -> Option<String> {
    let items = items?;
    Some(match items.is_empty() {
        true => "none".to_owned(),
        false => items.iter().map(T::to_string).collect::<Vec<_>>().join(" "),
    })
}
