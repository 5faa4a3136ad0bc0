//! Edition features: what a file's edition decides, and what file, message, oneof, field and enum override.

use super::Presence;
use super::descriptor::FeatureSet;

/// The resolved features at one place of a file; each is inherited by what is declared inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Features {
    /// `field_presence`, of singular fields outside oneofs that are not messages.
    pub(super) presence: Presence,
    /// `enum_type = CLOSED`.
    pub(super) closed: bool,
    /// `repeated_field_encoding = PACKED`.
    pub(super) packed: bool,
    /// `utf8_validation = VERIFY`.
    pub(super) utf8: bool,
    /// `message_encoding = DELIMITED`.
    pub(super) delimited: bool,
    /// `json_format = ALLOW`: two fields of one JSON name are an error.
    pub(super) json: bool,
}

impl Features {
    const PROTO2: Self =
        Self { presence: Presence::Explicit, closed: true, packed: false, utf8: false, delimited: false, json: false };
    const PROTO3: Self =
        Self { presence: Presence::Implicit, closed: false, packed: true, utf8: true, delimited: false, json: true };
    const EDITION_2023: Self = Self { presence: Presence::Explicit, ..Self::PROTO3 };

    /// The defaults of a file by its `syntax` and `edition`.
    pub(super) fn of_file(syntax: &str, edition: i32) -> Result<Self, String> {
        const EDITION_PROTO2: i32 = 998;
        const EDITION_PROTO3: i32 = 999;
        const EDITION_2023: i32 = 1000;
        const EDITION_2024: i32 = 1001;
        match (syntax, edition) {
            ("" | "proto2", 0) | ("" | "proto2" | "editions", EDITION_PROTO2) => Ok(Self::PROTO2),
            ("proto3", 0) | ("" | "proto3" | "editions", EDITION_PROTO3) => Ok(Self::PROTO3),
            ("" | "editions", EDITION_2023 | EDITION_2024) => Ok(Self::EDITION_2023),
            ("" | "editions", edition) => {
                Err(format!("edition number {edition} is not supported: use proto2, proto3, edition 2023 or 2024"))
            }
            (syntax, _) => Err(format!("syntax {syntax:?} is not supported: use proto2, proto3, edition 2023 or 2024")),
        }
    }

    /// These features with the overrides of one declaration; a value that is not set, or not known, is inherited.
    #[must_use]
    pub(super) fn with(mut self, set: Option<FeatureSet>) -> Self {
        let Some(set) = set else { return self };
        self.presence = match set.field_presence {
            Some(1) => Presence::Explicit,
            Some(2) => Presence::Implicit,
            Some(3) => Presence::Required,
            _ => self.presence,
        };
        self.closed = choice(set.enum_type, 2, 1, self.closed);
        self.packed = choice(set.repeated_field_encoding, 1, 2, self.packed);
        self.utf8 = choice(set.utf8_validation, 2, 3, self.utf8);
        self.delimited = choice(set.message_encoding, 2, 1, self.delimited);
        self.json = choice(set.json_format, 1, 2, self.json);
        self
    }
}

/// A two-valued feature.
fn choice(value: Option<i32>, yes: i32, no: i32, inherited: bool) -> bool {
    match value {
        Some(value) if value == yes => true,
        Some(value) if value == no => false,
        _ => inherited,
    }
}
