//! The compiler: files in the order of their imports, each parsed, and linked to those before it.
//!
//! The parser is protox's, the linker prost-reflect's; what the linker is stricter in than protoc is smoothed over by `alike`.

use std::collections::{HashMap, HashSet};

use prost::Message;
use prost_reflect::{DescriptorError, DescriptorPool};
use prost_types::FileDescriptorProto;
use protox_parse::ParseError;

use super::alike::{self, Alias};

/// What is found by the name that a file is imported by.
pub(super) enum Found<'f> {
    /// What a text says, and the text.
    Parsed(Box<FileDescriptorProto>, &'f str),
    /// An encoded `FileDescriptorProto` that somebody has linked.
    Linked(Vec<u8>),
    /// A file that cannot be read; who looked for it has said why.
    Unread,
    /// Nothing.
    Absent,
}

/// Why a file cannot be compiled.
pub(super) enum Fault {
    /// Its text is none of a `.proto` file.
    Parse(ParseError),
    /// A name in it stands for nothing, or an option has no such value.
    Link(DescriptorError),
    /// One of its imports.
    Import {
        file: String,
        /// Line and column, from 0.
        at: Option<(i32, i32)>,
        message: String,
        /// There is no such file.
        absent: bool,
    },
}

/// How far a file is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its imports are being compiled.
    Begun,
    Linked,
    /// It, or what it imports, has a fault.
    Failed,
    Absent,
}

/// Files on their way to a descriptor set.
pub(super) struct Compiler<F> {
    find: F,
    pool: DescriptorPool,
    states: HashMap<String, State>,
    aliases: HashMap<String, Vec<Alias>>,
    faults: Vec<Fault>,
}

impl<'f, F: Fn(&str) -> Result<Found<'f>, ParseError>> Compiler<F> {
    pub(super) fn new(find: F) -> Self {
        let (states, aliases) = (HashMap::new(), HashMap::new());
        Self { find, pool: DescriptorPool::new(), states, aliases, faults: Vec::new() }
    }

    /// Compiles a file, and before it what it imports. Each fault is told once, whoever imports the file.
    pub(super) fn add(&mut self, name: &str) -> Vec<Fault> {
        self.state(name);
        std::mem::take(&mut self.faults)
    }

    /// Every file, encoded, after those that it imports.
    pub(super) fn files(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.pool.files().map(|file| {
            let bytes = file.encode_to_vec();
            self.aliases.get(file.name()).map_or_else(|| bytes.clone(), |aliases| alike::restored(&bytes, aliases))
        })
    }

    fn state(&mut self, name: &str) -> State {
        if let Some(state) = self.states.get(name) {
            return *state;
        }
        self.states.insert(name.to_owned(), State::Begun);
        let state = match (self.find)(name) {
            Ok(Found::Parsed(file, text)) => self.parsed(name, *file, text),
            Ok(Found::Linked(bytes)) => self.linked(name, &bytes),
            Ok(Found::Unread) => State::Failed,
            Ok(Found::Absent) => State::Absent,
            Err(error) => self.fault(Fault::Parse(error)),
        };
        self.states.insert(name.to_owned(), state);
        state
    }

    fn parsed(&mut self, name: &str, mut file: FileDescriptorProto, text: &str) -> State {
        if !self.imports(&file) {
            return State::Failed;
        }
        let aliases = alike::part(&mut file);
        if let Err(error) = self.pool.add_file_descriptor_proto(file) {
            return self.fault(Fault::Link(error.with_source_code(text)));
        }
        if !aliases.is_empty() {
            self.aliases.insert(name.to_owned(), aliases);
        }
        State::Linked
    }

    fn linked(&mut self, name: &str, bytes: &[u8]) -> State {
        let mut file = FileDescriptorProto::decode(bytes).unwrap_or_default();
        file.name = Some(name.to_owned());
        if !self.imports(&file) {
            return State::Failed;
        }
        match self.pool.decode_file_descriptor_proto(bytes) {
            Ok(()) => State::Linked,
            Err(error) => self.fault(Fault::Link(error)),
        }
    }

    /// Whether all that a file imports is in the pool.
    fn imports(&mut self, file: &FileDescriptorProto) -> bool {
        let mut seen = HashSet::new();
        let mut whole = true;
        for (at, import) in file.dependency.iter().enumerate() {
            let state = self.state(import);
            let message = match state {
                _ if !seen.insert(import) => format!("import '{import}' was listed twice"),
                State::Linked => continue,
                State::Failed => String::new(),
                State::Begun => format!("import '{import}' leads back to this file"),
                State::Absent => format!("import '{import}' not found"),
            };
            whole = false;
            if !message.is_empty() {
                let (file, at) = (file.name().to_owned(), place(file, at));
                self.faults.push(Fault::Import { file, at, message, absent: state == State::Absent });
            }
        }
        whole
    }

    fn fault(&mut self, fault: Fault) -> State {
        self.faults.push(fault);
        State::Failed
    }
}

/// Where a file names its `at`th import.
fn place(file: &FileDescriptorProto, at: usize) -> Option<(i32, i32)> {
    /// `FileDescriptorProto.dependency`.
    const DEPENDENCY: i32 = 3;
    let path = [DEPENDENCY, i32::try_from(at).ok()?];
    let location = file.source_code_info.as_ref()?.location.iter().find(|location| location.path == path)?;
    Some((*location.span.first()?, *location.span.get(1)?))
}
