//! One rule, compiled: its id, what it tells who breaks it, and its test.

use super::number::{Number, Place};
use super::text::Text;

/// A rule that values are held to.
#[derive(Debug)]
pub(super) struct Rule {
    /// As protovalidate names it: `string.min_len`.
    pub(super) id: Box<str>,
    /// What the value must be, for who sent it.
    pub(super) message: Box<str>,
    pub(super) test: Test,
}

/// What a rule asks.
#[derive(Debug)]
pub(super) enum Test {
    Number(Number),
    Text(Text),
    Now(Now),
    Paths(Paths),
}

/// Where an instant must lie, seen from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Now {
    /// Not after it.
    Past,
    /// Not before it.
    Future,
    /// No further from it than so many nanoseconds.
    Within(i128),
}

/// What the paths of a FieldMask must be.
#[derive(Debug)]
pub(super) enum Paths {
    /// These, in this order.
    Equal(Box<[Box<[u8]>]>),
    /// Each one of these, or below one.
    In(Box<[Box<[u8]>]>),
    /// None of these, nor below one.
    NotIn(Box<[Box<[u8]>]>),
}

/// A value, as rules look at it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Subject<'a> {
    Number(Place),
    Text(&'a [u8]),
    Paths(&'a [&'a [u8]]),
}

impl Rule {
    pub(super) fn new(id: impl Into<Box<str>>, message: impl Into<Box<str>>, test: Test) -> Self {
        Self { id: id.into(), message: message.into(), test }
    }

    /// The value keeps the rule. (Compiled for its type, a rule never meets another.)
    #[inline]
    pub(super) fn holds(&self, subject: Subject<'_>, now: i128) -> bool {
        match (&self.test, subject) {
            (Test::Number(test), Subject::Number(place)) => test.holds(place),
            (Test::Text(test), Subject::Text(text)) => test.holds(text),
            (Test::Now(test), Subject::Number(Some(at))) => test.holds(at, now),
            (Test::Paths(test), Subject::Paths(paths)) => test.holds(paths),
            _ => false,
        }
    }
}

impl Now {
    fn holds(self, at: i128, now: i128) -> bool {
        match self {
            Self::Past => at <= now,
            Self::Future => at >= now,
            Self::Within(distance) => (now - distance..=now + distance).contains(&at),
        }
    }
}

impl Paths {
    fn holds(&self, paths: &[&[u8]]) -> bool {
        let below = |path: &[u8], list: &[Box<[u8]>]| {
            list.iter()
                .any(|one| path.strip_prefix(&**one).is_some_and(|rest| rest.is_empty() || rest.starts_with(b".")))
        };
        match self {
            Self::Equal(wanted) => wanted.iter().map(|path| &**path).eq(paths.iter().copied()),
            Self::In(list) => paths.iter().all(|path| below(path, list)),
            Self::NotIn(list) => !paths.iter().any(|path| below(path, list)),
        }
    }
}

/// A list as it is searched.
pub(super) fn sorted<T: Ord>(mut list: Vec<T>) -> Box<[T]> {
    list.sort_unstable();
    list.into()
}
