//! A `.proto` file as a descriptor: its bytes, for those who ask by reflection, and what is in it.

use std::collections::HashMap;

use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::descriptor::{File, FileSet};
use super::names::join;

/// One file of a schema, encoded as `google.protobuf.FileDescriptorProto` without its source positions and comments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescriptorFile {
    name: Box<str>,
    bytes: Box<[u8]>,
}

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outline {
    /// The files that it imports.
    pub imports: Vec<String>,
    /// Full names of what it declares at its top: messages, enums and their values, services; and of all extensions.
    pub symbols: Vec<String>,
    /// Full names of its services.
    pub services: Vec<String>,
    /// Each extension, wherever it is declared: the message that it extends, and its number.
    pub extensions: Vec<(String, i32)>,
}

/// `FileDescriptorProto`, what it imports.
#[derive(Clone, PartialEq, Message)]
struct Imports {
    #[prost(string, repeated, tag = "3")]
    dependencies: Vec<String>,
    /// Edition 2024's `import option`.
    #[prost(string, repeated, tag = "15")]
    options: Vec<String>,
}

/// Anything whose name is field 1, in `FileDescriptorProto` a service.
#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

/// `FileDescriptorProto.name`.
const NAME: u32 = 1;
/// `FileDescriptorProto`'s `name`, `dependency` and `option_dependency`.
const NAMES: [u32; 3] = [NAME, 3, 15];
/// `FileDescriptorProto.service`.
const SERVICE: u32 = 6;
/// `FileDescriptorProto.source_code_info`.
const SOURCE_CODE_INFO: u32 = 9;

impl DescriptorFile {
    /// Every file of a binary `FileDescriptorSet`; none if it is no such thing.
    pub fn all(set: &[u8]) -> Vec<Self> {
        Self::all_of(&FileSet::decode(set).unwrap_or_default().files)
    }

    /// Every file of encoded `FileDescriptorProto`s; what is no such thing is left out.
    pub fn all_of(files: &[Vec<u8>]) -> Vec<Self> {
        files.iter().filter_map(|bytes| Some(Self::new(&Named::decode(&**bytes).ok()?.name, bytes))).collect()
    }

    /// A file of this name.
    pub(super) fn new(name: &str, bytes: &[u8]) -> Self {
        Self { name: name.into(), bytes: without(bytes, |field, _| field == SOURCE_CODE_INFO).into() }
    }

    /// The name by which it is imported.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its `FileDescriptorProto`, options and all, as it came.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What is in it.
    pub fn outline(&self) -> Outline {
        let imports = Imports::decode(&*self.bytes).unwrap_or_default();
        let file = File::decode(&*self.bytes).unwrap_or_default();
        let full = |name: &String| join(&file.package, name);
        let services: Vec<_> = file.services.iter().map(|service| full(&service.name)).collect();
        let values = file.enums.iter().flat_map(|declared| &declared.values).map(|value| full(&value.name));
        let symbols = file.messages.iter().map(|message| full(&message.name));
        let symbols = symbols.chain(file.enums.iter().map(|declared| full(&declared.name))).chain(values);
        let symbols = symbols.chain(file.extensions.iter().map(|extension| full(&extension.name)));
        let mut extensions = Vec::new();
        let mut messages: Vec<_> = file.messages.iter().map(|message| (full(&message.name), message)).collect();
        let mut declared: Vec<_> = file.extensions.iter().collect();
        let mut nested = Vec::new();
        while let Some((name, message)) = messages.pop() {
            messages.extend(message.messages.iter().map(|inner| (join(&name, &inner.name), inner)));
            nested.extend(message.extensions.iter().map(|extension| join(&name, &extension.name)));
            declared.extend(&message.extensions);
        }
        for extension in declared {
            extensions.push((extension.extendee.trim_start_matches('.').to_owned(), extension.number));
        }
        Outline {
            imports: [imports.dependencies, imports.options].concat(),
            symbols: symbols.chain(services.iter().cloned()).chain(nested).collect(),
            services,
            extensions,
        }
    }

    /// The same file under another name.
    #[must_use]
    pub fn renamed(&self, name: &str) -> Self {
        let mut bytes = Named { name: name.to_owned() }.encode_to_vec();
        bytes.extend(without(&self.bytes, |field, _| field == NAME));
        Self { name: name.into(), bytes: bytes.into() }
    }

    /// The same file by another name, importing others by theirs; `names`: old ones to new ones.
    #[must_use]
    pub(super) fn with_names(&self, names: &HashMap<String, String>) -> Self {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut rest = &*self.bytes;
        while !rest.is_empty() {
            let start = rest;
            let mut step = || {
                let (field, wire_type) = decode_key(&mut rest).ok()?;
                let mut content = rest;
                skip_field(wire_type, field, &mut rest, DecodeContext::default()).ok()?;
                let renamed = NAMES.contains(&field) && wire_type == WireType::LengthDelimited;
                let renamed = renamed.then(|| decode_varint(&mut content)).and_then(Result::ok);
                let name = std::str::from_utf8(content.get(..usize::try_from(renamed?).ok()?)?).ok()?;
                names.get(name).map(|name| (field, name))
            };
            match step() {
                Some((field, name)) => prost::encoding::string::encode(field, name, &mut bytes),
                // What cannot be read is the last there is.
                None if rest.len() == start.len() => return self.clone(),
                None => bytes.extend_from_slice(&start[..start.len() - rest.len()]),
            }
        }
        let name = names.get(&*self.name).map_or_else(|| self.name.clone(), |name| name.as_str().into());
        Self { name, bytes: bytes.into() }
    }

    /// The same file with only the services whose full name is to be kept.
    #[must_use]
    pub fn with_services(&self, keep: impl Fn(&str) -> bool) -> Self {
        let package = File::decode(&*self.bytes).unwrap_or_default().package;
        let kept = |bytes: &[u8]| Named::decode(bytes).is_ok_and(|service| keep(&join(&package, &service.name)));
        let bytes = without(&self.bytes, |field, content| field == SERVICE && !kept(content));
        Self { name: self.name.clone(), bytes: bytes.into() }
    }
}

/// A binary `FileDescriptorSet` of files.
pub fn descriptor_set<'f>(files: impl IntoIterator<Item = &'f DescriptorFile>) -> Vec<u8> {
    let files = files.into_iter().map(|file| file.bytes.to_vec()).collect();
    FileSet { files }.encode_to_vec()
}

/// A message without some of its length-delimited fields, all else byte for byte; as it is where it cannot be read.
fn without(message: &[u8], drop: impl Fn(u32, &[u8]) -> bool) -> Vec<u8> {
    let cut = || {
        let mut out = Vec::with_capacity(message.len());
        let mut rest = message;
        while !rest.is_empty() {
            let start = rest;
            let (field, wire_type) = decode_key(&mut rest).ok()?;
            let mut content = rest;
            skip_field(wire_type, field, &mut rest, DecodeContext::default()).ok()?;
            if wire_type == WireType::LengthDelimited {
                decode_varint(&mut content).ok()?;
                let length = content.len() - rest.len();
                if drop(field, &content[..length]) {
                    continue;
                }
            }
            out.extend_from_slice(&start[..start.len() - rest.len()]);
        }
        Some(out)
    };
    cut().unwrap_or_else(|| message.to_vec())
}
