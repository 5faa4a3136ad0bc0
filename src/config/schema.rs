//! `schema`: where descriptors come from and which methods they open.

use std::path::PathBuf;
use std::time::Duration;

use super::http_rule::HttpRule;
use super::kind::{self, Kind as _, choice, duration, list, path, text};
use super::read::{choice, section};
use super::{HOUR, MILLISECOND};

section! {
    /// Schema sources; all are read, and together they are one schema.
    pub struct Schema {
        /// Folders of `.proto` files, which may import one another's, and those of `descriptor_sets`. What an import names may also lie
        /// deeper, as in `third_party`, or be named from further up; a folder within another may be listed beside it. A relative path
        /// starts at the configuration file's folder.
        protos: Vec<PathBuf> = list(path("a folder")).or("[]"),
        /// `FileDescriptorSet`s in binary form. A relative path starts at the configuration file's folder.
        descriptor_sets: Vec<PathBuf> = list(path("a file")).or("[]"),
        /// Upstreams that are asked for their schema by gRPC server reflection (v1 or v1alpha), by name. Only the services that
        /// their `services` list count; options that come so may tighten what holds without them, never loosen it.
        reflection: Vec<String> = list(text("an upstream's name")).or("[]"),
        /// Time from one answer of an upstream by reflection to the next question; a schema that has changed is loaded.
        reflection_interval: Duration = duration(100 * MILLISECOND..=24 * HOUR).or("30s"),
        /// Which methods clients reach.
        expose: Expose = choice().or("annotated"),
        /// HTTP rules in the form of a service configuration; those of a method replace its `google.api.http` annotation.
        http_rules: Vec<HttpRule> = list(kind::section()).or("[]"),
        /// What a reload that breaks REST clients gets: a route is gone or has lost requests to a new one, a
        /// field is gone or another one by now.
        breaking: Breaking = choice().or("warn"),
    }
}

choice! {
    /// Which methods clients reach, in any dialect.
    pub enum Expose {
        /// Those with a `google.api.http` rule and those that `methods` names.
        Annotated = "annotated",
        /// Every method of every service that an upstream serves.
        All = "all",
    }
}

choice! {
    /// What a reload that breaks clients gets.
    pub enum Breaking {
        /// It is applied; every such change is told.
        Warn = "warn",
        /// It is refused, and what runs goes on.
        Refuse = "refuse",
    }
}
