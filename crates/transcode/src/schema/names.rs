//! Names: what is one, type names to symbols by protobuf's scoping, field names to JSON names and ready-made JSON keys.

use super::{Schema, Symbol};

/// The names that are visible from inside a message or service.
pub(super) struct Names<'a> {
    pub(super) schema: &'a Schema,
    /// Full name of the message, service or package that the names are written in.
    pub(super) scope: &'a str,
}

impl Names<'_> {
    /// What a type name stands for: `.pkg.Type` as it is, `Type` from the innermost scope outwards.
    pub(super) fn resolve(&self, name: &str) -> Result<Symbol, String> {
        let found = match name.strip_prefix('.') {
            Some(absolute) => self.schema.symbol(absolute),
            None => self.scopes().find_map(|scope| self.schema.symbol(&join(scope, name))),
        };
        found.ok_or_else(|| {
            let name = name.strip_prefix('.').unwrap_or(name);
            format!(
                "{name:?} is declared by no loaded file; a descriptor set must hold its imports too (--include_imports)"
            )
        })
    }

    fn scopes(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(Some(self.scope), |scope| match scope.rfind('.') {
            Some(dot) => Some(&scope[..dot]),
            None => (!scope.is_empty()).then_some(""),
        })
    }
}

/// `scope.name`, or `name` at the top.
pub(super) fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

/// A letter or `_`, then letters, digits or `_`.
pub(super) fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The lowerCamelCase of a field's name: what protoc gives a field without `json_name`.
pub fn json_name(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut upper = false;
    for char in name.chars() {
        if char == '_' {
            upper = true;
        } else {
            out.push(if upper { char.to_ascii_uppercase() } else { char });
            upper = false;
        }
    }
    out
}

/// `"name":`, escaped as JSON.
pub(super) fn json_key(name: &str) -> Box<[u8]> {
    let mut out = String::with_capacity(name.len() + 3);
    out.push('"');
    for char in name.chars() {
        match char {
            '"' | '\\' => {
                out.push('\\');
                out.push(char);
            }
            '\0'..='\x1f' => out.push_str(&format!("\\u{:04x}", u32::from(char))),
            _ => out.push(char),
        }
    }
    out.push_str("\":");
    out.into_bytes().into()
}
