//! `schema`: where descriptors come from and which methods they open.

use std::path::PathBuf;

use super::kind::{Kind as _, choice, list, path};
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
    }
    absent: "breaking", "http_rules", "reflection"
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
