//! `schema`: where descriptors come from and which methods they open.

use std::path::PathBuf;

use super::http_rule::HttpRule;
use super::kind::{self, Kind as _, choice, list, path};
use super::read::{choice, section};

section! {
    /// Schema sources; all are read, and together they are one schema.
    pub struct Schema {
        /// Folders of `.proto` files. A relative path starts at the configuration file's folder.
        protos: Vec<PathBuf> = list(path("a folder")).or("[]"),
        /// `FileDescriptorSet`s in binary form. A relative path starts at the configuration file's folder.
        descriptor_sets: Vec<PathBuf> = list(path("a file")).or("[]"),
        /// Which methods clients reach.
        expose: Expose = choice().or("annotated"),
        /// HTTP rules in the form of a service configuration; those of a method replace its `google.api.http` annotation.
        http_rules: Vec<HttpRule> = list(kind::section()).or("[]"),
    }
    absent: "breaking", "reflection"
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
