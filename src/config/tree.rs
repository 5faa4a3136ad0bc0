//! The YAML document as a tree in which every node knows its line.
//!
//! Parsing and typing are apart, so that one run tells every problem of a file: this half takes syntax, duplicate
//! keys, aliases and variables; [`super::read()`] takes the meaning. Scalars stay text: what `3000` is depends on its
//! key alone, so a quoted number, or one from a variable, is a number where one is asked for.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::mem;
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, options};

use super::problem::Problems;
use super::vars::{Lookup, expand};

/// Bytes of a configuration file.
pub const MAX_TEXT: usize = 1 << 20;
/// Nodes of a document, with every alias counted as a copy of its anchor.
const MAX_NODES: usize = 50_000;
/// Collections within collections.
const MAX_DEPTH: usize = 32;
/// Bytes of a key: problems and lines are kept by places, which have it in them.
const MAX_KEY: usize = 1 << 10;
/// Bytes of all values together after expansion.
const MAX_EXPANDED: usize = 8 << 20;

/// A value and where it is.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// From 1.
    pub(super) line: usize,
    /// Its bytes in the text; empty for lists and maps.
    pub(super) span: Range<usize>,
    pub(super) value: Value,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// `null`, `~`, nothing, or a text that is empty after expansion: the key's default holds.
    Absent,
    /// Any other scalar, expanded.
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// It has a problem that is told already.
    Told,
}

/// One key of a map.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: usize,
    /// It came by `<<`.
    merged: bool,
    pub(super) value: Node,
}

impl Value {
    /// For messages: what it is.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Self::Absent => "nothing",
            Self::Text(_) | Self::Told => "a single value",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// Reads one document. Without a tree, the problems say why.
pub(super) fn parse(text: &str, lookup: Lookup<'_>, problems: &mut Problems) -> Option<Node> {
    if text.len() > MAX_TEXT {
        problems.push(1, String::new(), format!("the file is larger than {MAX_TEXT} bytes"));
        return None;
    }
    let options = options! {
        disallow_directives: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut builder = Builder {
        lookup,
        problems,
        open: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        expanded: 0,
        root: None,
        documents: 0,
    };
    for event in Parser::new_from_str_with_options(text, options) {
        if builder.event(event).is_err() {
            return None;
        }
    }
    Some(builder.root.unwrap_or(Node { line: 1, span: 0..0, value: Value::Absent }))
}

/// A problem was told after which the rest of the text means nothing.
struct Stop;

/// A collection that has not ended.
struct Open {
    line: usize,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, key: Option<(String, usize)> },
}

struct Builder<'a> {
    lookup: Lookup<'a>,
    problems: &'a mut Problems,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    expanded: usize,
    root: Option<Node>,
    documents: usize,
}

impl Builder<'_> {
    fn event(&mut self, event: Result<(Event<'_>, Span), ScanError>) -> Result<(), Stop> {
        let (event, span) = event.map_err(|error| {
            let hint = match error.info().contains("anchor") {
                true => "; put a text that begins with `*` or `&` in quotes",
                false => "",
            };
            self.tell(error.marker().line(), format!("this is not YAML: {}{hint}", error.info()));
            Stop
        })?;
        let line = span.start.line();
        if let Event::Scalar(_, _, _, Some(_))
        | Event::SequenceStart(_, _, Some(_))
        | Event::MappingStart(_, _, Some(_)) = &event
        {
            self.tell(line, "tags (`!…`) mean nothing here; remove the tag".to_owned());
        }
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.tell(line, "a second document starts here; write one".to_owned());
                    return Err(Stop);
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, _) => self.scalar(&text, style, anchor, span),
            Event::SequenceStart(_, anchor, _) => self.start(line, anchor, Content::List(Vec::new())),
            Event::MappingStart(_, anchor, _) => {
                self.start(line, anchor, Content::Map { entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(id) => self.alias(line, id),
            _ => Ok(()),
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, anchor: usize, span: Span) -> Result<(), Stop> {
        let line = span.start.line();
        self.count(line, 1)?;
        if let Some(Open { content: Content::Map { key: key @ None, .. }, .. }) = self.open.last_mut() {
            if text.len() <= MAX_KEY {
                *key = Some((text.to_owned(), line));
                return Ok(());
            }
            self.tell(line, format!("a key is longer than {MAX_KEY} bytes"));
            return Err(Stop);
        }
        let null = style == ScalarStyle::Plain && matches!(text, "" | "~" | "null" | "Null" | "NULL");
        let value = match expand(text, self.lookup) {
            _ if null => Value::Absent,
            Ok(text) if text.is_empty() => Value::Absent,
            Ok(text) => {
                self.expanded += text.len();
                if self.expanded > MAX_EXPANDED {
                    self.tell(line, format!("the values are larger than {MAX_EXPANDED} bytes after expansion"));
                    return Err(Stop);
                }
                Value::Text(text)
            }
            Err(message) => {
                self.tell(line, message);
                Value::Told
            }
        };
        let node = Node { line, span: span.byte_range().unwrap_or(0..0), value };
        self.finish(node, anchor);
        Ok(())
    }

    fn start(&mut self, line: usize, anchor: usize, content: Content) -> Result<(), Stop> {
        self.count(line, 1)?;
        if let Some(Open { content: Content::Map { key: None, .. }, .. }) = self.open.last() {
            self.tell(line, "a key is a list or a map; write a text".to_owned());
            return Err(Stop);
        }
        self.open.push(Open { line, anchor, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Stop> {
        let Some(Open { line, anchor, content }) = self.open.pop() else { return Err(Stop) };
        let value = match content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(entries),
        };
        self.finish(Node { line, span: 0..0, value }, anchor);
        Ok(())
    }

    fn alias(&mut self, line: usize, id: usize) -> Result<(), Stop> {
        if let Some(Open { content: Content::Map { key: None, .. }, .. }) = self.open.last() {
            self.tell(line, "a key is an alias; write a text".to_owned());
            return Err(Stop);
        }
        let Some(node) = self.anchors.get(&id) else {
            self.tell(line, "an alias inside the value that it stands for".to_owned());
            return Err(Stop);
        };
        let size = size(node);
        let node = node.clone();
        self.count(line, size)?;
        self.finish(node, 0);
        Ok(())
    }

    /// Puts a whole node where it belongs.
    fn finish(&mut self, node: Node, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open { content: Content::List(items), .. }) => items.push(node),
            Some(Open { content: Content::Map { entries, key }, .. }) => {
                let Some((key, line)) = mem::take(key) else { return };
                if key == "<<" {
                    return self.merge(line, node);
                }
                match entries.iter_mut().find(|entry| entry.key == key) {
                    None => entries.push(Entry { key, line, merged: false, value: node }),
                    Some(first) if first.merged => *first = Entry { key, line, merged: false, value: node },
                    Some(first) => {
                        let message = format!("this key is already on line {}; keep one", first.line);
                        let mut path = self.path();
                        path.push_key(&key);
                        self.problems.push(line, path.text, message);
                    }
                }
            }
        }
    }

    /// `<<: *anchor` brings the keys of another map; those written beside it win.
    fn merge(&mut self, line: usize, node: Node) {
        let maps = match node.value {
            Value::List(items) => items,
            _ => vec![node],
        };
        for map in maps {
            let Value::Map(brought) = map.value else {
                self.tell(line, "`<<` takes an alias of a map, or a list of them".to_owned());
                return;
            };
            if let Some(Open { content: Content::Map { entries, .. }, .. }) = self.open.last_mut() {
                for mut entry in brought {
                    if !entries.iter().any(|other| other.key == entry.key) {
                        entry.merged = true;
                        entries.push(entry);
                    }
                }
            }
        }
    }

    fn count(&mut self, line: usize, nodes: usize) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            self.tell(line, format!("the document has more than {MAX_NODES} values"));
            return Err(Stop);
        }
        Ok(())
    }

    fn tell(&mut self, line: usize, message: String) {
        let path = self.path();
        self.problems.push(line, path.text, message);
    }

    /// Where the next node goes.
    fn path(&self) -> Path {
        let mut path = Path::default();
        for open in &self.open {
            match &open.content {
                Content::List(items) => path.push_index(items.len()),
                Content::Map { key: Some((key, _)), .. } => path.push_key(key),
                Content::Map { key: None, .. } => {}
            }
        }
        path
    }
}

/// The nodes of a tree.
fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(entries) => entries.iter().map(|entry| 1 + size(&entry.value)).sum(),
        Value::Absent | Value::Text(_) | Value::Told => 0,
    }
}

/// A place in the document: `upstreams.booking.endpoints[1]`, `methods["a.B/C"].timeout`.
#[derive(Debug, Clone, Default)]
pub(super) struct Path {
    pub(super) text: String,
}

impl Path {
    pub(super) fn push_key(&mut self, key: &str) {
        let plain =
            !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if plain {
            if !self.text.is_empty() {
                self.text.push('.');
            }
            self.text.push_str(key);
        } else {
            // Whole: it is what tells this key from every other.
            let _ = write!(self.text, "[{key:?}]");
        }
    }

    pub(super) fn push_index(&mut self, index: usize) {
        self.text.push('[');
        self.text.push_str(&index.to_string());
        self.text.push(']');
    }
}
