//! From the tree to typed sections: each key is declared once, and that declaration reads it, documents it and gives
//! its JSON Schema.
//!
//! Reading never stops at a problem. A value that is wrong is told and its key takes its default, so that everything
//! after it, and every check across keys, is still looked at; what was built is thrown away if there was any problem.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::kind::{Kind, Shape};
use super::problem::{Problems, quote};
use super::tree::{Entry, Node, Path, Value};
use super::vars::is_elsewhere;

/// A map with fixed keys; declared by [`section!`](super::section).
pub(super) trait Section: Sized {
    /// Its keys, in the order of their declaration.
    fn keys() -> Vec<Key>;
    /// Keys that other versions of Transom have and this one does not.
    const ABSENT: &'static [&'static str];
    /// Takes every key.
    fn read(fields: &mut Fields<'_, '_>) -> Self;
}

/// The declaration of one key.
pub(super) struct Key {
    pub(super) name: &'static str,
    /// Its doc comment, a line each.
    pub(super) doc: &'static [&'static str],
    pub(super) shape: Shape,
    pub(super) presence: Presence,
}

/// What an absent key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// It is a problem.
    Required,
    /// There is none; the doc comment says what that means.
    Optional,
    /// This, as the user would write it.
    Default(&'static str),
}

/// A key's kind together with what its absence means.
pub(super) trait Setting {
    type Out;
    fn shape(&self) -> Shape;
    fn presence(&self) -> Presence;
    fn present(&self, node: &Node, reader: &mut Reader) -> Self::Out;
    fn absent(&self, line: usize, reader: &mut Reader) -> Self::Out;
}

/// Says what a setting reads, for inference.
pub(super) fn of<T, S: Setting<Out = T>>(setting: S) -> S {
    setting
}

/// The kind's value is needed.
pub(super) struct Required<K>(pub(super) K);
/// There may be none.
pub(super) struct Optional<K>(pub(super) K);
/// Without a value this one holds, as the user would write it.
pub(super) struct Or<K>(pub(super) K, pub(super) &'static str);

impl<K: Kind<Out: Default>> Setting for Required<K> {
    type Out = K::Out;

    fn shape(&self) -> Shape {
        self.0.shape()
    }

    fn presence(&self) -> Presence {
        Presence::Required
    }

    fn present(&self, node: &Node, reader: &mut Reader) -> K::Out {
        reader.read(&self.0, node).unwrap_or_default()
    }

    fn absent(&self, line: usize, reader: &mut Reader) -> K::Out {
        reader.tell(line, format!("is missing; write {}", self.0.shape().noun()));
        K::Out::default()
    }
}

impl<K: Kind> Setting for Optional<K> {
    type Out = Option<K::Out>;

    fn shape(&self) -> Shape {
        self.0.shape()
    }

    fn presence(&self) -> Presence {
        Presence::Optional
    }

    fn present(&self, node: &Node, reader: &mut Reader) -> Option<K::Out> {
        reader.read(&self.0, node)
    }

    fn absent(&self, _: usize, _: &mut Reader) -> Option<K::Out> {
        None
    }
}

impl<K: Kind> Setting for Or<K> {
    type Out = K::Out;

    fn shape(&self) -> Shape {
        self.0.shape()
    }

    fn presence(&self) -> Presence {
        Presence::Default(self.1)
    }

    fn present(&self, node: &Node, reader: &mut Reader) -> K::Out {
        match reader.read(&self.0, node) {
            Some(value) => value,
            None => self.absent(node.line, reader),
        }
    }

    #[expect(clippy::expect_used, reason = "defaults are constants of the declarations; a test reads each")]
    fn absent(&self, line: usize, reader: &mut Reader) -> K::Out {
        let value = match self.1 {
            "{}" => Value::Map(Vec::new()),
            "[]" => Value::List(Vec::new()),
            text => Value::Text(text.to_owned()),
        };
        self.0.read(&Node { line, span: 0..0, value }, reader).expect("a default that its own kind takes")
    }
}

/// Gathers what reading finds out besides the values.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) problems: Problems,
    /// The line of every key that the document has.
    pub(super) lines: BTreeMap<String, usize>,
    /// Where the text holds secrets.
    pub(super) secrets: Vec<Range<usize>>,
    /// Secrets that are kept elsewhere: what they are, or that they cannot be read; and those that nobody has looked up.
    pub(super) elsewhere: BTreeMap<String, Option<String>>,
    pub(super) wanted: BTreeSet<String>,
    /// Secrets of a Vault: what stands there, its line and its key.
    pub(super) in_vault: Vec<(String, usize, String)>,
    path: Path,
}

impl Reader {
    pub(super) fn new(problems: Problems) -> Self {
        Self { problems, ..Self::default() }
    }

    /// The same, when it is known what secrets are that are kept elsewhere.
    pub(super) fn knowing(problems: Problems, elsewhere: BTreeMap<String, Option<String>>) -> Self {
        Self { problems, elsewhere, ..Self::default() }
    }

    /// A secret: the text itself, or what is kept where it says.
    pub(super) fn kept(&mut self, line: usize, text: &str) -> Option<String> {
        if !is_elsewhere(text) {
            return Some(text.to_owned());
        }
        if text.starts_with("vault:") {
            self.in_vault.push((text.to_owned(), line, self.path.text.clone()));
        }
        match self.elsewhere.get(text) {
            // Everyone knows it. A file is so for a moment while it is written anew.
            Some(Some(kept)) if kept.trim().is_empty() => {
                let text = quote(text);
                self.tell(line, format!("the secret {text} is empty; write it there"));
                None
            }
            Some(Some(kept)) => Some(kept.clone()),
            Some(None) => {
                let text = quote(text);
                self.tell(line, format!("the secret {text} cannot be read: is it there, and may the gateway read it?"));
                None
            }
            None => {
                self.wanted.insert(text.to_owned());
                Some(String::new())
            }
        }
    }

    /// A problem of the place that is being read.
    pub(super) fn tell(&mut self, line: usize, message: impl Into<String>) {
        self.problems.push(line, self.path.text.clone(), message.into());
    }

    /// The node's value; without one a problem was told.
    pub(super) fn read<K: Kind>(&mut self, kind: &K, node: &Node) -> Option<K::Out> {
        if let Value::Told = node.value { None } else { kind.read(node, self) }
    }

    /// Reads below a key.
    pub(super) fn at_key<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.text.len();
        self.path.push_key(key);
        let value = read(self);
        self.path.text.truncate(length);
        value
    }

    /// Reads below an item.
    pub(super) fn at_index<T>(&mut self, index: usize, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.text.len();
        self.path.push_index(index);
        let value = read(self);
        self.path.text.truncate(length);
        value
    }

    /// Remembers where the key that is being read stands.
    pub(super) fn mark(&mut self, line: usize) {
        self.lines.insert(self.path.text.clone(), line);
    }

    /// The line of the first of these keys that the document has.
    pub(super) fn line(&self, keys: &[&str]) -> usize {
        keys.iter().find_map(|key| self.lines.get(*key)).copied().unwrap_or(1)
    }

    /// Reads a section, unknown keys included.
    pub(super) fn section<S: Section>(&mut self, line: usize, entries: &[Entry]) -> S {
        let section = S::read(&mut Fields { line, entries, reader: self });
        let keys = S::keys();
        for entry in entries {
            if !keys.iter().any(|key| key.name == entry.key) {
                let message = unknown(&entry.key, &keys, S::ABSENT);
                self.at_key(&entry.key, |reader| reader.tell(entry.line, message));
            }
        }
        section
    }
}

/// The keys of one section in one document.
pub(super) struct Fields<'a, 'r> {
    line: usize,
    entries: &'a [Entry],
    reader: &'r mut Reader,
}

impl Fields<'_, '_> {
    /// Reads one key.
    pub(super) fn take<S: Setting>(&mut self, name: &str, setting: &S) -> S::Out {
        let entry = self.entries.iter().find(|entry| entry.key == name);
        let line = self.line;
        self.reader.at_key(name, |reader| match entry {
            Some(Entry { value: Node { value: Value::Absent, .. }, line, .. }) => setting.absent(*line, reader),
            Some(entry) => {
                reader.mark(entry.line);
                setting.present(&entry.value, reader)
            }
            None => setting.absent(line, reader),
        })
    }
}

/// What to say of a key that is none.
fn unknown(key: &str, keys: &[Key], absent: &[&str]) -> String {
    if absent.contains(&key) {
        return format!("{} is not supported by this version of Transom; remove it", quote(key));
    }
    let names = || keys.iter().map(|key| key.name);
    // What other gateways call it.
    let elsewhere = match key {
        "address" | "bind" | "host" | "port" | "ports" => Some("listen"),
        "backends" | "clusters" | "services" => Some("upstreams"),
        _ => None,
    };
    match elsewhere.filter(|name| names().any(|known| known == *name)).or_else(|| nearest(key, names())) {
        Some(name) => format!("unknown key; did you mean `{name}`?"),
        None => format!("unknown key; the keys here are {}", names().collect::<Vec<_>>().join(", ")),
    }
}

/// The name that the user probably meant.
pub fn nearest<'n>(written: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    const LONGEST: usize = 64;
    if written.len() > LONGEST {
        return None;
    }
    names
        .map(|name| (strsim::damerau_levenshtein(&written.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Declares a section: the struct, how each key is read, and what its documentation says.
///
/// ```text
/// section! {
///     /// What it is.
///     pub struct Upstream {
///         /// What the key means.
///         timeout: Duration = duration(MIN..=MAX).or("5s"),
///     }
///     beside { /* fields that are not keys and start as their type's default */ }
///     absent: "retry" // a key that other versions have
/// }
/// ```
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        $visibility:vis struct $Name:ident {
            $( $(#[doc = $doc:literal])* $field:ident: $Type:ty = $setting:expr, )*
        }
        $(beside { $( $(#[doc = $beside_doc:literal])* $beside:ident: $Beside:ty, )* })?
        $(absent: $($absent:literal),+)?
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, PartialEq)]
        $visibility struct $Name {
            $( $(#[doc = $doc])* $visibility $field: $Type, )*
            $($( $(#[doc = $beside_doc])* $visibility $beside: $Beside, )*)?
        }

        impl $crate::config::read::Section for $Name {
            const ABSENT: &'static [&'static str] = &[$($($absent),+)?];

            fn keys() -> Vec<$crate::config::read::Key> {
                use $crate::config::read::Setting as _;
                vec![$( {
                    let setting = $crate::config::read::of::<$Type, _>($setting);
                    $crate::config::read::Key {
                        name: stringify!($field),
                        doc: &[$($doc),*],
                        shape: setting.shape(),
                        presence: setting.presence(),
                    }
                } ),*]
            }

            fn read(fields: &mut $crate::config::read::Fields<'_, '_>) -> Self {
                Self {
                    $( $field: fields.take(stringify!($field), &$setting), )*
                    $($( $beside: <$Beside>::default(), )*)?
                }
            }
        }
    };
}

/// Declares a closed set of words: the enum, how it is read, and what its documentation says.
macro_rules! choice {
    (
        $(#[doc = $about:literal])*
        $visibility:vis enum $Name:ident {
            $( $(#[doc = $doc:literal])* $Variant:ident = $word:literal, )*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $visibility enum $Name {
            $( $(#[doc = $doc])* $Variant, )*
        }

        impl $crate::config::kind::Choice for $Name {
            const WORDS: &'static [(&'static str, &'static [&'static str], Self)] =
                &[$( ($word, &[$($doc),*], Self::$Variant) ),*];
        }
    };
}

pub(super) use {choice, section};
