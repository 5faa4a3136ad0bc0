//! `schema`: where descriptors come from and which methods they open.

use std::path::PathBuf;

/// Schema sources; all are read, and together they are one schema.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schema {
    /// Folders of `.proto` files.
    pub protos: Vec<PathBuf>,
    /// `FileDescriptorSet`s in binary form.
    pub descriptor_sets: Vec<PathBuf>,
    /// Which methods clients reach.
    pub expose: Expose,
}

/// Which methods clients reach, in any dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expose {
    /// Those with a `google.api.http` rule and those that `methods` names.
    #[default]
    Annotated,
    /// Every method of every service that an upstream serves.
    All,
}
