//! What the gateway answers by server reflection: the services that clients reach, every file that those need, and what else is
//! loaded for their messages: extensions, and types that an `Any` may hold.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use transom_transcode::schema::{DescriptorFile, Schema, Symbol};

/// The descriptors of what is exposed; built once for a snapshot.
#[derive(Debug, Default)]
pub struct Reflection {
    services: BTreeSet<String>,
    files: Vec<Bytes>,
    by_name: HashMap<String, usize>,
    by_symbol: HashMap<String, usize>,
    /// Extended message → number → file.
    extensions: HashMap<String, BTreeMap<i32, usize>>,
}

impl Reflection {
    /// Of these services, and of `builtin`, descriptor sets of what the gateway serves itself. A file that declares other
    /// services too is served without those.
    pub(super) fn compile(schema: &Schema, exposed: &BTreeSet<&str>, builtin: &[&[u8]]) -> Self {
        let own: Vec<_> = builtin.iter().flat_map(|set| DescriptorFile::all(set)).map(canonical).collect();
        let own_services: BTreeSet<_> = own.iter().flat_map(|file| file.outline().services).collect();
        let known: HashMap<_, _> = own.iter().chain(&schema.files).map(|file| (file.name(), file)).collect();
        let mut this = Self::default();
        for file in own.iter().filter_map(|file| known.get(file.name())) {
            this.add(file, &known, |service| exposed.contains(service) || own_services.contains(service));
        }
        let declaring: BTreeSet<&str> = schema
            .services
            .iter()
            .filter(|service| exposed.contains(&*service.name))
            .map(|service| &*service.file)
            .collect();
        for file in declaring.into_iter().filter_map(|name| known.get(name)) {
            this.add(file, &known, |service| exposed.contains(service));
        }
        // A file that is of services which nobody reaches is not served for its messages' sake, unless they are extensions of
        // what is.
        let mut left: Vec<_> = schema.files.iter().map(|file| (file, file.outline())).collect();
        loop {
            let (more, others): (Vec<_>, _) = left.into_iter().partition(|(_, outline)| {
                outline.services.is_empty()
                    || outline.extensions.iter().any(|(extended, _)| this.outermost(extended).is_some())
            });
            left = others;
            if more.is_empty() {
                return this;
            }
            for (file, _) in more {
                this.add(file, &known, |service| exposed.contains(service));
            }
        }
    }

    /// A file and all that it imports.
    fn add(&mut self, file: &DescriptorFile, known: &HashMap<&str, &DescriptorFile>, keep: impl Fn(&str) -> bool) {
        let mut waiting = vec![file.clone()];
        while let Some(file) = waiting.pop() {
            if self.by_name.contains_key(file.name()) {
                continue;
            }
            let file = file.with_services(&keep);
            let at = self.files.len();
            let outline = file.outline();
            self.files.push(Bytes::copy_from_slice(file.bytes()));
            self.by_name.insert(file.name().to_owned(), at);
            self.services.extend(outline.services);
            for symbol in outline.symbols {
                self.by_symbol.entry(symbol).or_insert(at);
            }
            for (extended, number) in outline.extensions {
                self.extensions.entry(extended).or_default().entry(number).or_insert(at);
            }
            waiting.extend(outline.imports.iter().filter_map(|name| known.get(name.as_str()).copied().cloned()));
        }
    }

    /// Full names of the services, sorted.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.services.iter().map(String::as_str)
    }

    /// The file of a name.
    pub fn file(&self, name: &str) -> Option<Bytes> {
        self.by_name.get(name).map(|at| self.files[*at].clone())
    }

    /// The file that declares a symbol: a service, a method, a message, a field, an enum …
    pub fn declaring(&self, schema: &Schema, symbol: &str) -> Option<Bytes> {
        let (declared, at) = self.outermost(symbol)?;
        (declared == symbol || declares(schema, declared, symbol)).then(|| self.files[*at].clone())
    }

    /// What is declared at the top of a file and may hold this symbol, and the file.
    fn outermost<'s>(&self, symbol: &'s str) -> Option<(&'s str, &usize)> {
        let mut outer = std::iter::successors(Some(symbol), |inner| inner.rsplit_once('.').map(|(outer, _)| outer));
        outer.find_map(|name| Some((name, self.by_symbol.get(name)?)))
    }

    /// The file that extends a message by a number.
    pub fn extending(&self, message: &str, number: i32) -> Option<Bytes> {
        self.extensions.get(message)?.get(&number).map(|at| self.files[*at].clone())
    }

    /// The numbers by which a message is extended; none: it is not known.
    pub fn extensions_of(&self, schema: &Schema, message: &str) -> Option<Vec<i32>> {
        let known = schema.message_named(message).is_some() && self.declaring(schema, message).is_some();
        let numbers = self.extensions.get(message).map(|numbers| numbers.keys().copied().collect());
        numbers.or_else(|| known.then(Vec::new))
    }
}

/// A file of the gateway's own by the name that gRPC imports it by: users have files with bare ones, as `health.proto`.
fn canonical(file: DescriptorFile) -> DescriptorFile {
    let services = file.outline().services;
    let package = services.first().and_then(|service| service.rsplit_once('.')).map(|(package, _)| package);
    match package.and_then(|package| Some((package, package.rsplit('.').nth(1)?))) {
        Some((package, name)) => file.renamed(&format!("{}/{name}.proto", package.replace('.', "/"))),
        None => file,
    }
}

/// Whether a symbol exists below a declared one. Of what is no part of the schema, the gateway's own, all is taken to.
fn declares(schema: &Schema, declared: &str, symbol: &str) -> bool {
    if schema.symbol(declared).is_none() || schema.symbol(symbol).is_some() {
        return true;
    }
    let Some((parent, name)) = symbol.rsplit_once('.') else { return false };
    match schema.symbol(parent) {
        Some(Symbol::Service(at)) => schema.services[at as usize].methods.iter().any(|method| *method.name == *name),
        Some(Symbol::Message(id)) => {
            let message = schema.message(id);
            message.slot_declared(name).is_some() || message.oneofs.iter().any(|oneof| **oneof == *name)
        }
        // An enum's values are siblings of it.
        Some(Symbol::Enum(_)) | None => false,
    }
}
