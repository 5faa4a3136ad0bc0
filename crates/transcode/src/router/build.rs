//! `RouterBuilder`: grows the trie, and refuses a binding that would serve the requests of another.

use hashbrown::HashMap;

use super::captures::Span;
use super::{ANY_METHOD, End, NO_VERB, Node, Route, Router};
use crate::template::{Segment, Template};

/// A [`Router`] in the making.
#[derive(Debug)]
pub struct RouterBuilder<T> {
    router: Router<T>,
    /// What each binding matches → its route.
    taken: HashMap<Shape, u32, foldhash::fast::FixedState>,
}

/// Another binding matches the same requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conflict {
    /// The other binding, for [`RouterBuilder::route`].
    pub with: usize,
}

/// All that decides which requests a binding matches.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Shape {
    method: u32,
    segments: Vec<Segment>,
    verb: u32,
}

impl<T> Default for RouterBuilder<T> {
    fn default() -> Self {
        let router = Router {
            nodes: vec![Node::default()],
            routes: Vec::new(),
            methods: Vec::new(),
            verbs: Vec::new(),
            verb_colons: 0,
        };
        Self { router, taken: HashMap::default() }
    }
}

impl<T> RouterBuilder<T> {
    /// A router without bindings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a binding; method `*` stands for every method.
    ///
    /// # Errors
    /// A binding of the same method matches the same requests; nothing was added.
    pub fn insert(&mut self, method: &str, template: &Template, value: T) -> Result<(), Conflict> {
        let method = if method == "*" { ANY_METHOD } else { intern(&mut self.router.methods, method) };
        let verb = template.verb().map_or(NO_VERB, |verb| intern(&mut self.router.verbs, verb));
        let shape = Shape { method, segments: canonical(template.segments()), verb };
        let route = self.router.routes.len() as u32;
        if let Some(&with) = self.taken.get(&shape) {
            return Err(Conflict { with: with as usize });
        }
        self.taken.insert(shape, route);
        let colons = template.verb().map_or(0, |verb| 1 + memchr::memchr_iter(b':', verb).count());
        self.router.verb_colons = self.router.verb_colons.max(colons);
        let rest = template.segments().iter().position(|segment| *segment == Segment::Rest);
        let node = self.grow(template.segments());
        self.router.nodes[node as usize].ends.push(End { verb, method, route });
        self.router.routes.push(Route { value, spans: Span::of(template, rest) });
        Ok(())
    }

    /// What matches the same requests as such a binding would.
    pub fn same(&self, method: &str, template: &Template) -> Option<&T> {
        let position = |known: Option<usize>| known.map(|at| at as u32);
        let methods = &self.router.methods;
        let method = match method {
            "*" => ANY_METHOD,
            _ => position(methods.iter().position(|known| **known == *method))?,
        };
        let verb = match template.verb() {
            None => NO_VERB,
            Some(verb) => position(self.router.verbs.iter().position(|known| **known == *verb))?,
        };
        let shape = Shape { method, segments: canonical(template.segments()), verb };
        self.taken.get(&shape).map(|&at| self.route(at as usize))
    }

    /// The value of an earlier [`RouterBuilder::insert`], by how many succeeded before it.
    pub fn route(&self, at: usize) -> &T {
        &self.router.routes[at].value
    }

    /// The finished router.
    pub fn build(self) -> Router<T> {
        self.router
    }

    /// The node at the end of these segments.
    fn grow(&mut self, segments: &[Segment]) -> u32 {
        let nodes = &mut self.router.nodes;
        let mut here = 0;
        for (at, segment) in segments.iter().enumerate() {
            let next = nodes.len() as u32;
            let node = &mut nodes[here as usize];
            let child = match segment {
                Segment::Literal(text) => match node.literals.binary_search_by(|(literal, _)| literal.cmp(text)) {
                    Ok(found) => node.literals[found].1,
                    Err(place) => {
                        node.literals.insert(place, (text.clone(), next));
                        next
                    }
                },
                Segment::One => *node.one.get_or_insert(next),
                Segment::Rest => {
                    let len = segments.len() - at - 1;
                    match node.rest.binary_search_by(|(other, _)| len.cmp(other)) {
                        Ok(found) => node.rest[found].1,
                        Err(place) => {
                            node.rest.insert(place, (len, next));
                            next
                        }
                    }
                }
            };
            if child == next {
                nodes.push(Node::default());
            }
            here = child;
        }
        here
    }
}

/// The segments with `**` moved behind the `*`s that follow it: the same paths match.
fn canonical(segments: &[Segment]) -> Vec<Segment> {
    let mut out = segments.to_vec();
    for at in 1..out.len() {
        if out[at - 1] == Segment::Rest && out[at] == Segment::One {
            out.swap(at - 1, at);
        }
    }
    out
}

/// The index of a name, entered if it is new.
fn intern<N: ?Sized + PartialEq>(names: &mut Vec<Box<N>>, name: &N) -> u32
where
    Box<N>: for<'a> From<&'a N>,
{
    let at = names.iter().position(|known| **known == *name).unwrap_or_else(|| {
        names.push(Box::from(name));
        names.len() - 1
    });
    at as u32
}
