//! `Router`: (method, path) → the binding that serves it, and what its variables captured.
//!
//! A trie over the segments of all templates. The rules:
//!
//! - The path is split on `/` first and decoded afterwards; a literal is compared after percent-decoding. `*` is a
//!   segment that is not empty.
//! - A `:verb` is split off the last segment where a binding of this method has that verb there (the longest such
//!   verb); only otherwise is the colon part of the segment. `%3A` is never a delimiter.
//! - Literal before `*` before `**`, from left to right, among the bindings of this method: those of other methods are
//!   as if they were not there. Of templates that differ only behind `**`, the one with more segments there goes first.
//! - At the same place a binding of this very method goes before one of `*`; `HEAD` takes `GET`'s where it has none.
//!
//! A template has one `**` at most, so what follows it is matched against the end of the path. Each node of the trie
//! is then visited at one place of the path, and no path makes the search longer than the trie.

mod build;
mod captures;

pub use build::{Conflict, RouterBuilder};
pub use captures::Captures;

use captures::{BadEscape, Segments, Span};

/// All bindings, ready to be searched.
#[derive(Debug)]
pub struct Router<T> {
    nodes: Vec<Node>,
    routes: Vec<Route<T>>,
    /// The methods that bindings name; [`End::method`] is an index here.
    methods: Vec<Box<str>>,
    /// Every verb, percent-decoded; [`End::verb`] is an index here.
    verbs: Vec<Box<[u8]>>,
    /// How many colons of a segment, from the right, may begin a verb.
    verb_colons: usize,
}

/// What a router has for a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'r, T> {
    /// This binding; the captures are those of its template.
    Route(&'r T),
    /// The path exists under other methods: the value of `Allow`.
    MethodNotAllowed(String),
    /// No binding has this path.
    NotFound,
    /// The path has a `%` that is not followed by two hex digits.
    BadEscape,
}

#[derive(Debug)]
struct Route<T> {
    value: T,
    /// Where each variable of its template lies.
    spans: Box<[Span]>,
}

/// A place in the trie.
#[derive(Debug, Default)]
struct Node {
    /// Sorted by text.
    literals: Vec<(Box<[u8]>, u32)>,
    one: Option<u32>,
    /// What may follow a `**` that stands here, by its number of segments, most first.
    rest: Vec<(usize, u32)>,
    /// The bindings that end here.
    ends: Vec<End>,
}

/// A binding at the end of its template.
#[derive(Debug, Clone, Copy)]
struct End {
    verb: u32,
    method: u32,
    route: u32,
}

/// As [`End::verb`]: none.
const NO_VERB: u32 = u32::MAX;
/// As [`End::method`]: `custom { kind: "*" }`.
const ANY_METHOD: u32 = u32::MAX;
/// A method that no binding names.
const NO_METHOD: u32 = u32::MAX - 1;

impl<T> Router<T> {
    /// The binding for a method and a raw path (without the query). Once `captures` has grown to its work nothing is
    /// allocated, but for the text of a 405.
    pub fn find(&self, method: &str, path: &str, captures: &mut Captures) -> Found<'_, T> {
        let wanted = self.method(method);
        let fallback = if method == "HEAD" { self.method("GET") } else { NO_METHOD };
        let mut others = std::mem::take(&mut captures.others);
        others.clear();
        let found = self.search(path, captures, |ends, verb| {
            let here = || ends.iter().filter(|end| end.verb == verb);
            let by = |method: u32| here().find(|end| end.method == method).map(|end| end.route);
            let chosen = by(wanted).or_else(|| by(fallback)).or_else(|| by(ANY_METHOD));
            if chosen.is_none() {
                others.extend(here().map(|end| end.method));
            }
            chosen
        });
        let found = match found {
            Err(BadEscape) => Found::BadEscape,
            Ok(Some(route)) => {
                let route = &self.routes[route as usize];
                captures.fill(&route.spans);
                Found::Route(&route.value)
            }
            Ok(None) if others.is_empty() => Found::NotFound,
            Ok(None) => Found::MethodNotAllowed(self.allow(&others)),
        };
        captures.others = others;
        found
    }

    /// Every binding whose template matches a path, with its method: first what a request finds first, whatever its
    /// method. For people (`transom explain`), not for calls.
    pub fn candidates(&self, path: &str) -> Vec<(&str, &T)> {
        let mut found = Vec::new();
        let searched = self.search(path, &mut Captures::default(), |ends, verb| {
            found.extend(ends.iter().filter(|end| end.verb == verb).copied());
            None
        });
        if searched.is_err() {
            return Vec::new();
        }
        let method = |end: &End| self.methods.get(end.method as usize).map_or("*", |name| name);
        found.iter().map(|end| (method(end), &self.routes[end.route as usize].value)).collect()
    }

    fn method(&self, name: &str) -> u32 {
        self.methods.iter().position(|method| **method == *name).map_or(NO_METHOD, |at| at as u32)
    }

    fn allow(&self, methods: &[u32]) -> String {
        let mut names: Vec<&str> = methods.iter().map(|&at| &*self.methods[at as usize]).collect();
        if names.contains(&"GET") {
            names.push("HEAD");
        }
        names.sort_unstable();
        names.dedup();
        names.join(", ")
    }

    /// Shows `choose` the bindings of every match in order of precedence, until it takes one.
    fn search(
        &self,
        path: &str,
        captures: &mut Captures,
        mut choose: impl FnMut(&[End], u32) -> Option<u32>,
    ) -> Result<Option<u32>, BadEscape> {
        let Captures { segments, splits, decoded, .. } = captures;
        if !segments.split(path)? {
            return Ok(None);
        }
        self.split_verbs(path, segments, splits, decoded);
        for &(verb, end) in &*splits {
            segments.end = end;
            let mut walk =
                Walk { nodes: &self.nodes, path: path.as_bytes(), segments, verb, decoded, choose: &mut choose };
            if let Some(route) = walk.node(0, 0) {
                return Ok(Some(route));
            }
        }
        Ok(None)
    }

    /// Where the path may end for the segments if a verb is split off: each registered verb that it ends with, the
    /// longest first, then none.
    fn split_verbs(&self, path: &str, segments: &Segments, splits: &mut Vec<(u32, u32)>, decoded: &mut Vec<u8>) {
        splits.clear();
        splits.push((NO_VERB, segments.end));
        let start = segments.last_start();
        let last = &path.as_bytes()[start..];
        for colon in memchr::memrchr_iter(b':', last).take(self.verb_colons) {
            decoded.clear();
            crate::template::decode(&last[colon + 1..], decoded);
            if let Some(verb) = self.verbs.iter().position(|verb| **verb == **decoded) {
                splits.push((verb as u32, (start + colon) as u32));
            }
        }
        splits.reverse();
    }
}

/// One search for one end of the path.
struct Walk<'w, F> {
    nodes: &'w [Node],
    path: &'w [u8],
    segments: &'w Segments,
    verb: u32,
    decoded: &'w mut Vec<u8>,
    choose: &'w mut F,
}

impl<F: FnMut(&[End], u32) -> Option<u32>> Walk<'_, F> {
    /// Recursion is as deep as the deepest template.
    fn node(&mut self, node: u32, at: usize) -> Option<u32> {
        let nodes = self.nodes;
        let node = &nodes[node as usize];
        let left = self.segments.len() - at;
        if left == 0 {
            if let Some(route) = (self.choose)(&node.ends, self.verb) {
                return Some(route);
            }
        } else {
            let route = self.literal(node, at).and_then(|child| self.node(child, at + 1));
            if route.is_some() {
                return route;
            }
            if let Some(child) = node.one.filter(|_| !self.segments.range(at, at + 1).is_empty())
                && let Some(route) = self.node(child, at + 1)
            {
                return Some(route);
            }
        }
        let mut rest = node.rest.iter().filter(|(len, _)| *len <= left);
        rest.find_map(|&(len, child)| self.node(child, self.segments.len() - len))
    }

    fn literal(&mut self, node: &Node, at: usize) -> Option<u32> {
        if node.literals.is_empty() {
            return None;
        }
        let mut text = &self.path[self.segments.range(at, at + 1)];
        if self.segments.escaped && memchr::memchr(b'%', text).is_some() {
            self.decoded.clear();
            crate::template::decode(text, self.decoded);
            text = self.decoded;
        }
        let found = node.literals.binary_search_by(|(literal, _)| (**literal).cmp(text)).ok()?;
        Some(node.literals[found].1)
    }
}

#[cfg(test)]
mod tests;
