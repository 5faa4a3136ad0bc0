//! Kinds of values: how each is written, read and described.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::problem::quote;
use super::read::{Key, Optional, Or, Reader, Required, Section, nearest};
use super::tree::{Node, Value};
use super::{Network, Percent, Secret, units};

/// How a value is written and read.
pub(super) trait Kind: Sized {
    /// What it becomes.
    type Out;

    /// The value; `None` when a problem was told.
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<Self::Out>;

    /// What the reference and the JSON Schema say.
    fn shape(&self) -> Shape;

    /// The key must be there.
    fn required(self) -> Required<Self> {
        Required(self)
    }

    /// The key may be absent.
    fn optional(self) -> Optional<Self> {
        Optional(self)
    }

    /// An absent key means this, as the user would write it.
    fn or(self, default: &'static str) -> Or<Self> {
        Or(self, default)
    }
}

/// The form of a value, for the reference and the JSON Schema.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    /// A text; the noun says which.
    Text(&'static str),
    /// A value of any form; the noun says which.
    Any(&'static str),
    /// `true` or `false`.
    Flag,
    /// An integer within bounds.
    Integer(u64, u64),
    /// A word of a closed set, with what it means.
    Word(Vec<(&'static str, &'static [&'static str])>),
    /// Either of two.
    Either(Box<Shape>, Box<Shape>),
    /// Items; also one text with commas between them.
    List(Box<Shape>),
    /// One, or a list of them.
    Several(Box<Shape>),
    /// A map with the user's keys, which the noun names.
    Map(&'static str, Box<Shape>),
    /// A map with fixed keys.
    Section(fn() -> Vec<Key>),
}

impl Shape {
    /// For messages: `a duration such as `5s``.
    pub(super) fn noun(&self) -> String {
        match self {
            Self::Text(noun) | Self::Any(noun) => (*noun).to_owned(),
            Self::Flag => "`true` or `false`".to_owned(),
            Self::Integer(min, max) => format!("a number from {min} to {max}"),
            Self::Word(words) => {
                let words: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
                words.join(" or ")
            }
            Self::Either(first, second) => format!("{}, or {}", first.noun(), second.noun()),
            Self::List(item) => format!("a list, each item {}", item.noun()),
            Self::Several(item) => format!("{}, or a list of such", item.noun()),
            Self::Map(key, _) => format!("a map, each key {key}"),
            Self::Section(_) => "a map".to_owned(),
        }
    }
}

/// A single value: a parser of its text, whose errors are messages.
pub(super) struct Single<T> {
    shape: Shape,
    parse: Parse<T>,
    secret: bool,
}

/// A parser of a text; its errors say what to write.
type Parse<T> = Box<dyn Fn(&str) -> Result<T, String>>;

impl<T> Kind for Single<T> {
    type Out = T;

    fn read(&self, node: &Node, reader: &mut Reader) -> Option<T> {
        let Value::Text(text) = &node.value else {
            reader.tell(node.line, format!("is {}; write {}", node.value.noun(), self.shape.noun()));
            return None;
        };
        let kept;
        let text = if self.secret {
            reader.secrets.push(node.span.clone());
            kept = reader.kept(node.line, text)?;
            &*kept
        } else {
            text
        };
        match (self.parse)(text) {
            Ok(value) => Some(value),
            Err(message) => {
                reader.tell(node.line, message);
                None
            }
        }
    }

    fn shape(&self) -> Shape {
        self.shape.clone()
    }
}

impl<T: 'static> Single<T> {
    /// The same text as another value.
    pub(super) fn map<U>(self, into: impl Fn(T) -> U + 'static) -> Single<U> {
        let parse = self.parse;
        Single { shape: self.shape, parse: Box::new(move |text| parse(text).map(&into)), secret: self.secret }
    }
}

fn single<T>(shape: Shape, parse: impl Fn(&str) -> Result<T, String> + 'static) -> Single<T> {
    Single { shape, parse: Box::new(parse), secret: false }
}

/// Any text.
pub(super) fn text(noun: &'static str) -> Single<String> {
    single(Shape::Text(noun), |text| Ok(text.to_owned()))
}

/// A text that `/config` masks and nothing prints.
pub(super) fn secret(noun: &'static str) -> Single<Secret> {
    Single { secret: true, ..text(noun) }.map(Secret::from)
}

/// A text with a rule of its own; the error says what to write.
pub(super) fn checked<T>(noun: &'static str, parse: impl Fn(&str) -> Result<T, String> + 'static) -> Single<T> {
    single(Shape::Text(noun), parse)
}

/// A file or folder; relative ones start at the configuration file's folder.
pub(super) fn path(noun: &'static str) -> Single<PathBuf> {
    single(Shape::Text(noun), |text| {
        if text.contains('\0') { Err("a path holds no NUL".to_owned()) } else { Ok(PathBuf::from(text)) }
    })
}

/// `true` or `false`.
pub(super) fn flag() -> Single<bool> {
    single(Shape::Flag, |text| match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("{} is neither `true` nor `false`", quote(text))),
    })
}

/// An integer within bounds.
pub(super) fn count(bounds: RangeInclusive<usize>) -> Single<usize> {
    let (min, max) = (*bounds.start(), *bounds.end());
    single(Shape::Integer(min as u64, max as u64), move |text| match text.parse::<usize>() {
        Ok(number) if bounds.contains(&number) => Ok(number),
        _ => Err(format!("{} is not a number from {min} to {max}", quote(text))),
    })
}

/// A duration such as `5s`.
pub(super) fn duration(bounds: RangeInclusive<Duration>) -> Single<Duration> {
    single(Shape::Text("a duration such as `5s`"), move |text| {
        units::long_duration(text)?.filter(|value| bounds.contains(value)).ok_or_else(|| {
            let (min, max) = (units::write(*bounds.start()), units::write(*bounds.end()));
            format!("{} is not between `{min}` and `{max}`", quote(text))
        })
    })
}

/// A share such as `20%`.
pub(super) fn percent() -> Single<Percent> {
    single(Shape::Text("a share such as `20%`"), |text| {
        let share = text.strip_suffix('%').and_then(|share| share.trim().parse().ok()).filter(|share| *share <= 100);
        share.map(Percent).ok_or_else(|| format!("{} is not a share; write `0%` to `100%`", quote(text)))
    })
}

/// A number of bytes such as `4MiB`.
pub(super) fn size(bounds: RangeInclusive<usize>) -> Single<usize> {
    single(Shape::Text("a size such as `4MiB` or `4194304`"), move |text| {
        units::size(text)?
            .filter(|value| bounds.contains(value))
            .ok_or_else(|| format!("{} is not between {} and {} bytes", quote(text), bounds.start(), bounds.end()))
    })
}

/// An address to listen on.
pub(super) fn socket() -> Single<SocketAddr> {
    single(Shape::Text("an address to listen on such as `0.0.0.0:3000` or `[::]:3000`"), |text| {
        text.parse().map_err(|_| {
            let hint = match text.rsplit_once(':') {
                Some(("" | "*", port)) if port.parse::<u16>().is_ok() => format!("write `0.0.0.0:{port}`"),
                Some(("localhost", port)) if port.parse::<u16>().is_ok() => format!("write `127.0.0.1:{port}`"),
                None if text.parse::<u16>().is_ok() => format!("write `0.0.0.0:{text}`"),
                _ => "write an IP address and a port, such as `0.0.0.0:3000` or `[::]:3000`".to_owned(),
            };
            format!("{} is not an address to listen on; {hint}", quote(text))
        })
    })
}

/// An address block.
pub(super) fn network() -> Single<Network> {
    single(Shape::Text("a network such as `10.0.0.0/8`, or one address"), |text| {
        let wrong = || format!("{} is not a network; write `10.0.0.0/8`, `fd00::/8` or one address", quote(text));
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= bits).ok_or_else(wrong)?,
        };
        let network = Network { address, prefix };
        match network.first() {
            first if first == address => Ok(network),
            first => Err(format!("{} has bits after its first {prefix}; write `{first}/{prefix}`", quote(text))),
        }
    })
}

/// A closed set of words; declared by [`choice!`](super::choice).
pub(super) trait Choice: Copy + 'static {
    /// Each word, its doc comment and its value.
    const WORDS: &'static [(&'static str, &'static [&'static str], Self)];
}

/// A word of a closed set.
pub(super) fn choice<C: Choice>() -> Single<C> {
    let shape = Shape::Word(C::WORDS.iter().map(|(word, doc, _)| (*word, *doc)).collect());
    let noun = shape.noun();
    single(shape, move |text| {
        C::WORDS.iter().find(|(word, ..)| *word == text).map(|(.., value)| *value).ok_or_else(|| {
            match nearest(text, C::WORDS.iter().map(|(word, ..)| *word)) {
                Some(word) => format!("{} is not known here; did you mean `{word}`?", quote(text)),
                None => format!("{} is not known here; write {noun}", quote(text)),
            }
        })
    })
}

/// One kind where its text parses, or the other.
pub(super) fn either<T: 'static>(first: Single<T>, second: Single<T>) -> Single<T> {
    let shape = Shape::Either(Box::new(first.shape), Box::new(second.shape));
    let noun = shape.noun();
    single(shape, move |text| {
        (first.parse)(text).or_else(|_| (second.parse)(text)).map_err(|_| format!("{} is not {noun}", quote(text)))
    })
}

/// Items in a list.
pub(super) struct List<K> {
    item: K,
    min: usize,
}

/// A list; a text in it, or in its place, is split at its commas, since variables carry lists so.
pub(super) fn list<K: Kind>(item: K) -> List<K> {
    List { item, min: 0 }
}

impl<K> List<K> {
    /// At least one item.
    pub(super) fn not_empty(self) -> Self {
        Self { min: 1, ..self }
    }
}

impl<K: Kind> Kind for List<K> {
    type Out = Vec<K::Out>;

    fn read(&self, node: &Node, reader: &mut Reader) -> Option<Vec<K::Out>> {
        let alone = std::slice::from_ref(node);
        let nodes = match &node.value {
            Value::List(items) => items.as_slice(),
            Value::Text(_) => alone,
            other => {
                reader.tell(node.line, format!("is {}; write {}", other.noun(), self.shape().noun()));
                return None;
            }
        };
        let items: Vec<Node> = nodes.iter().flat_map(split).collect();
        if items.len() < self.min {
            reader.tell(node.line, format!("is empty; write {}", self.shape().noun()));
        }
        let read = |(index, item): (usize, &Node)| {
            reader.at_index(index, |reader| {
                reader.mark(item.line);
                reader.read(&self.item, item)
            })
        };
        Some(items.iter().enumerate().filter_map(read).collect())
    }

    fn shape(&self) -> Shape {
        Shape::List(Box::new(self.item.shape()))
    }
}

/// One value, or a list of them.
pub(super) struct Several<K>(K);

/// One value, or a list of them.
pub(super) fn several<K: Kind>(item: K) -> Several<K> {
    Several(item)
}

impl<K: Kind> Kind for Several<K> {
    type Out = Vec<K::Out>;

    fn read(&self, node: &Node, reader: &mut Reader) -> Option<Vec<K::Out>> {
        let Value::List(items) = &node.value else { return reader.read(&self.0, node).map(|value| vec![value]) };
        let read = |(index, item): (usize, &Node)| {
            reader.at_index(index, |reader| {
                reader.mark(item.line);
                reader.read(&self.0, item)
            })
        };
        Some(items.iter().enumerate().filter_map(read).collect())
    }

    fn shape(&self) -> Shape {
        Shape::Several(Box::new(self.0.shape()))
    }
}

/// A text with commas as its parts; anything else as it is.
fn split(node: &Node) -> Vec<Node> {
    match &node.value {
        Value::Text(text) if text.contains(',') => text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| Node { value: Value::Text(part.to_owned()), ..node.clone() })
            .collect(),
        _ => vec![node.clone()],
    }
}

/// A map with the user's keys.
pub(super) struct Map<K> {
    noun: &'static str,
    check: fn(&str) -> Result<(), String>,
    value: K,
}

/// A map with the user's keys; `check` says what is wrong with one.
pub(super) fn map<K: Kind>(noun: &'static str, check: fn(&str) -> Result<(), String>, value: K) -> Map<K> {
    Map { noun, check, value }
}

impl<K: Kind> Kind for Map<K> {
    type Out = BTreeMap<String, K::Out>;

    fn read(&self, node: &Node, reader: &mut Reader) -> Option<Self::Out> {
        let Value::Map(entries) = &node.value else {
            reader.tell(node.line, format!("is {}; write {}", node.value.noun(), self.shape().noun()));
            return None;
        };
        let mut map = BTreeMap::new();
        for entry in entries {
            let value = reader.at_key(&entry.key, |reader| {
                if let Err(message) = (self.check)(&entry.key) {
                    reader.tell(entry.line, message);
                }
                reader.mark(entry.line);
                reader.read(&self.value, &entry.value)
            });
            if let Some(value) = value {
                map.insert(entry.key.clone(), value);
            }
        }
        Some(map)
    }

    fn shape(&self) -> Shape {
        Shape::Map(self.noun, Box::new(self.value.shape()))
    }
}

/// A map with fixed keys.
pub(super) struct Fixed<S>(PhantomData<S>);

/// A section.
pub(super) fn section<S: Section>() -> Fixed<S> {
    Fixed(PhantomData)
}

impl<S: Section> Kind for Fixed<S> {
    type Out = S;

    fn read(&self, node: &Node, reader: &mut Reader) -> Option<S> {
        match &node.value {
            Value::Map(entries) => Some(reader.section(node.line, entries)),
            Value::Absent => Some(reader.section(node.line, &[])),
            other => {
                let keys: Vec<_> = S::keys().iter().map(|key| key.name).collect();
                reader.tell(node.line, format!("is {}; write a map with keys of {}", other.noun(), keys.join(", ")));
                None
            }
        }
    }

    fn shape(&self) -> Shape {
        Shape::Section(S::keys)
    }
}
