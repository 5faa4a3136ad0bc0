//! The places that may say something of a method, in the order in which they win.

use std::borrow::Cow;

use transom_transcode::schema::{Method, Service};

use super::option::as_written;
use super::{Origin, Setting};
use crate::config::{self, Access, Priority};

/// One place that may say something of a method, and what it says.
pub(super) struct Entry<'a> {
    place: Place<'a>,
    method: Cow<'a, config::Method>,
}

pub(super) enum Place<'a> {
    /// A key of `methods`.
    Key(String),
    /// An option in a `.proto`.
    Option { file: &'a str, symbol: String, option: &'static str, reflected: bool },
}

impl<'a> Entry<'a> {
    /// Whoever wins first: configuration over options, the method over its service.
    pub(super) fn all(config: &'a config::Config, service: &'a Service, method: &Method) -> Vec<Self> {
        let keys = [&*method.name, "*"].map(|method| format!("{}/{method}", service.name));
        let written = keys.into_iter().filter_map(|key| {
            let method = config.methods.get(&key)?;
            Some(Self { place: Place::Key(key), method: Cow::Borrowed(method) })
        });
        let options = [
            (format!("{}.{}", service.name, method.name), "(transom.method)", &method.policy),
            (service.name.to_string(), "(transom.service).methods", &service.policy.methods),
        ];
        let options = options.into_iter().map(|(symbol, option, policy)| Self {
            place: Place::Option { file: &service.file, symbol, option, reflected: service.reflected },
            method: Cow::Owned(as_written(policy)),
        });
        written.chain(options).collect()
    }
}

/// The places that a value may come from.
pub(super) struct Layers<'a> {
    pub(super) config: &'a config::Config,
    pub(super) entries: &'a [Entry<'a>],
    pub(super) upstream: &'a str,
}

impl Layers<'_> {
    /// The value of the first entry that has this key, or `otherwise`. What server reflection brings must tighten that.
    pub(super) fn method<T>(
        &self,
        key: &[&str],
        pick: impl Fn(&config::Method) -> Option<T>,
        otherwise: Setting<T>,
        tightens: impl Fn(&T, &T) -> bool,
    ) -> Setting<T> {
        for entry in self.entries {
            let Some(value) = pick(&entry.method) else { continue };
            let from = match &entry.place {
                Place::Key(name) => Origin::Written(config::place(&[&["methods", name], key].concat()).into()),
                Place::Option { file, symbol, option, reflected } => {
                    if *reflected && !tightens(&value, &otherwise.value) {
                        continue;
                    }
                    Origin::option(file, symbol, &format!("{option}.{}", key.join(".")))
                }
            };
            return Setting { value, from };
        }
        otherwise
    }

    /// The limits of a method that names none. Without `auth` every method is public.
    pub(super) fn rate_limits(&self, access: &Access) -> Setting<Vec<String>> {
        let name = match access {
            Access::Public => config::PUBLIC,
            Access::Required(_) => config::USERS,
        };
        match self.config.rate_limits.contains_key(name) {
            true => {
                let place = config::place(&["rate_limits", name]);
                Setting { value: vec![name.to_owned()], from: Origin::Written(place.into()) }
            }
            false => Setting { value: Vec::new(), from: Origin::Default },
        }
    }

    /// The priority of a method that says nothing of it: what keeps users logged in goes last.
    pub(super) fn priority(&self, name: &str) -> Setting<Priority> {
        let auth = self.config.auth.as_ref();
        let sessions = self.config.sessions.as_ref();
        let logout = auth.and_then(|auth| auth.logout.as_deref()).map(|name| ("auth.logout", name));
        let verify = auth.and_then(|auth| auth.verify.as_ref()?.rpc.as_deref()).map(|name| ("auth.verify.rpc", name));
        let refresh = sessions.and_then(|sessions| sessions.refresh.as_deref()).map(|name| ("sessions.refresh", name));
        let login = sessions.iter().flat_map(|sessions| &sessions.login).map(|name| ("sessions.login", name.as_str()));
        let mut named = login.chain(refresh).chain(logout).chain(verify);
        match named.find(|(_, known)| *known == name) {
            Some((place, _)) => Setting { value: Priority::High, from: Origin::Written(place.into()) },
            None => Setting { value: Priority::Normal, from: Origin::Default },
        }
    }

    /// The top level's value, or nothing.
    pub(super) fn top<T: Default>(&self, key: &[&str], value: Option<T>) -> Setting<T> {
        match value {
            Some(value) => Setting { value, from: Origin::Written(config::place(key).into()) },
            None => Setting { value: T::default(), from: Origin::Default },
        }
    }

    /// The upstream's value, written or by default.
    pub(super) fn upstream<T>(&self, key: &[&str], value: T) -> Setting<T> {
        let place = config::place(&[&["upstreams", self.upstream], key].concat());
        let written = self.config.source.line(&place).is_some();
        Setting { value, from: if written { Origin::Written(place.into()) } else { Origin::Default } }
    }
}
