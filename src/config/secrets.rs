//! `secrets`: where secrets are kept that the configuration only names.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

use super::HOUR;
use super::auth::{Secret, url};
use super::kind::{self, Kind as _, checked, duration, path, secret, text};
use super::read::section;

const SECOND: Duration = Duration::from_secs(1);

section! {
    /// Where secrets are kept that the configuration only names. Files need no entry: `file:PATH` in the place of a secret is
    /// what the file holds, and a change of the file reloads.
    pub struct Secrets {
        /// A Vault or OpenBao with a KV engine of version 2: `vault:MOUNT/PATH#KEY` in the place of a secret.
        vault: Option<Vault> = kind::section().optional(),
    }
}

section! {
    /// A Vault, and how the gateway proves who it is: exactly one of `token`, `app_role` and `kubernetes`.
    pub struct Vault {
        /// Its address.
        address: Uri = checked("a URL such as `https://vault:8200`", url).required(),
        /// Authorities, in PEM, that an `https` address must be of; by default those that the system trusts.
        ca: Option<PathBuf> = path("a PEM file").optional(),
        /// The namespace, where the server has them.
        namespace: Option<String> = text("a namespace").optional(),
        /// A token; it is renewed as long as it can be.
        token: Option<Secret> = secret("a token").optional(),
        /// An AppRole.
        app_role: Option<AppRole> = kind::section().optional(),
        /// The service account of a pod.
        kubernetes: Option<Kubernetes> = kind::section().optional(),
        /// How often secrets are read again; one that has changed reloads.
        refresh: Duration = duration(SECOND..=24 * HOUR).or("5m"),
    }
}

section! {
    /// An AppRole of a Vault.
    pub struct AppRole {
        /// Which role.
        role_id: String = text("a role's id").required(),
        /// What proves it.
        secret_id: Secret = secret("a secret").required(),
        /// Where the method is mounted.
        mount: String = text("a path").or("approle"),
    }
}

section! {
    /// A role of a Vault for the service account of a Kubernetes pod.
    pub struct Kubernetes {
        /// Which role.
        role: String = text("a role").required(),
        /// The service account's token.
        token_file: PathBuf = path("a file").or("/var/run/secrets/kubernetes.io/serviceaccount/token"),
        /// Where the method is mounted.
        mount: String = text("a path").or("kubernetes"),
    }
}
