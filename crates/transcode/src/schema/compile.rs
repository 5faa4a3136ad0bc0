//! Files → tables, in four passes: declare every name, compile fields, index messages, compile services.
//!
//! Each pass goes on after a problem, so that one run says all of them; the tables are used only if there was none.

use hashbrown::HashMap;

use super::builder::Source;
use super::descriptor::{EnumOptions, EnumType, FieldType, File, FileOptions, MessageOptions, MessageType, decode};
use super::features::Features;
use super::names::{Names, is_identifier, join};
use super::{
    Enum, EnumId, Field, Message, MessageId, Problem, Schema, Service, ServicePolicy, Shape, Symbol, WellKnown,
};
use super::{field, index, policy, rules, service, well_known};

/// Slots are `u16`, and the largest two values are not slots.
const MAX_FIELDS: usize = 65_534;

/// Bytes of a full name: a long one would be repeated in each of the many that may be nested in it.
const MAX_NAME: usize = 1_024;

/// Compiles the files into one schema.
pub(super) fn compile(files: &[Source]) -> Result<Schema, Vec<Problem>> {
    let mut pass = Pass::default();
    for (source, at) in files.iter().zip(0..) {
        pass.at = at;
        pass.declare_file(source);
    }
    pass.compile_fields();
    pass.compile_extensions();
    pass.index_messages();
    pass.compile_services(files);
    if pass.problems.is_empty() { Ok(pass.schema) } else { Err(pass.problems) }
}

/// The tables in the making.
#[derive(Default)]
struct Pass<'a> {
    schema: Schema,
    /// The file that is being declared.
    at: u32,
    /// Beside [`Schema::messages`].
    declared: Vec<Declared<'a>>,
    extensions: Vec<Extension<'a>>,
    problems: Vec<Problem>,
}

/// A message whose fields are still to be compiled.
struct Declared<'a> {
    file: &'a File,
    proto: &'a MessageType,
    features: Features,
    /// Two of its fields may not have one JSON name.
    strict: bool,
    fields: Vec<Field>,
}

/// An extension, its type name still relative to where it is declared.
struct Extension<'a> {
    file: &'a File,
    scope: String,
    proto: &'a FieldType,
    features: Features,
}

impl<'a> Pass<'a> {
    fn declare_file(&mut self, source: &'a Source) {
        let file = &source.file;
        let mut problem = |message| self.problems.push(Problem::new(&file.name, "", message));
        let options: FileOptions = match decode(&file.options) {
            Ok(options) => options,
            Err(why) => return problem(why),
        };
        let features = match Features::of_file(&file.syntax, file.edition) {
            Ok(features) => features.with(options.features),
            Err(why) => return problem(why),
        };
        let is_name = file.package.len() < MAX_NAME && file.package.split('.').all(is_identifier);
        if !file.package.is_empty() && !is_name {
            return problem(format!("{:?} is not a package name", file.package));
        }
        for proto in &file.messages {
            self.declare_message(file, &file.package, proto, features);
        }
        for proto in &file.enums {
            self.declare_enum(file, &file.package, proto, features);
        }
        self.declare_extensions(file, &file.package, &file.extensions, features);
        for (proto, index) in file.services.iter().zip(self.schema.services.len()..) {
            let name = join(&file.package, &proto.name);
            self.declare(file, &name, &proto.name, Symbol::Service(index as u32));
            let policy = policy::of_service(&proto.options).unwrap_or_else(|why| {
                self.problem(file, &name, &why);
                ServicePolicy::default()
            });
            let (name, file) = (name.into(), (*file.name).into());
            let reflected = source.reflected;
            self.schema.services.push(Service { name, file, methods: vec![], policy, reflected });
        }
    }

    fn declare_message(&mut self, file: &'a File, scope: &str, proto: &'a MessageType, features: Features) {
        let name = join(scope, &proto.name);
        if name.len() > MAX_NAME {
            return self.problem(file, scope, &format!("it holds a full name of more than {MAX_NAME} bytes"));
        }
        let options: MessageOptions = self.options(file, &name, &proto.options);
        let features = features.with(options.features);
        let id = MessageId(self.schema.messages.len() as u32);
        self.declare(file, &name, &proto.name, Symbol::Message(id));
        self.schema.message_files.push(self.at);
        let strict = features.json && !options.legacy_json;
        match rules::of(&proto.options) {
            Ok(said) => self.schema.rules.message(id, said),
            Err(why) => self.problem(file, &name, &why),
        }
        self.schema.messages.push(Message {
            name: name.as_str().into(),
            fields: Box::default(),
            oneofs: Box::default(),
            well_known: if options.message_set { WellKnown::MessageSet } else { WellKnown::No },
            map_entry: options.map_entry,
            has_required: false,
            dense: Box::default(),
            sparse: Box::default(),
            by_name: HashMap::default(),
        });
        self.declared.push(Declared { file, proto, features, strict, fields: Vec::new() });
        for nested in &proto.messages {
            self.declare_message(file, &name, nested, features);
        }
        for nested in &proto.enums {
            self.declare_enum(file, &name, nested, features);
        }
        self.declare_extensions(file, &name, &proto.extensions, features);
    }

    fn declare_extensions(&mut self, file: &'a File, scope: &str, protos: &'a [FieldType], features: Features) {
        let scope = scope.to_owned();
        self.extensions.extend(protos.iter().map(|proto| Extension { file, scope: scope.clone(), proto, features }));
    }

    fn declare_enum(&mut self, file: &'a File, scope: &str, proto: &'a EnumType, features: Features) {
        let name = join(scope, &proto.name);
        if name.len() > MAX_NAME {
            return self.problem(file, scope, &format!("it holds a full name of more than {MAX_NAME} bytes"));
        }
        let options: EnumOptions = self.options(file, &name, &proto.options);
        let closed = features.with(options.features).closed;
        let id = EnumId(self.schema.enums.len() as u32);
        self.declare(file, &name, &proto.name, Symbol::Enum(id));
        self.schema.enum_files.push(self.at);
        match proto.values.first() {
            None => self.problem(file, &name, "an enum needs at least one value"),
            Some(first) if !closed && first.number != 0 => {
                self.problem(file, &name, "the first value of an open enum must be 0");
            }
            Some(_) => {}
        }
        let mut by_number: Vec<(i32, u32)> = proto.values.iter().map(|value| value.number).zip(0..).collect();
        by_number.sort_unstable();
        by_number.dedup_by_key(|entry| entry.0);
        let mut by_name = HashMap::default();
        for value in &proto.values {
            if !is_identifier(&value.name) {
                self.problem(file, &name, &format!("{:?} is not a name", value.name));
            }
            if by_name.insert(value.name.as_str().into(), value.number).is_some() {
                self.problem(file, &name, &format!("the value {} is declared twice", value.name));
            }
        }
        self.schema.enums.push(Enum {
            null_value: name == "google.protobuf.NullValue",
            name: name.into(),
            values: proto.values.iter().map(|value| (value.name.as_str().into(), value.number)).collect(),
            closed,
            by_number: by_number.into(),
            by_name,
        });
    }

    /// Enters a full name; its last part must be an identifier, and the name new.
    fn declare(&mut self, file: &File, name: &str, simple: &str, symbol: Symbol) {
        if !is_identifier(simple) {
            self.problem(file, name, &format!("{simple:?} is not a name"));
        }
        if self.schema.names.insert(name.into(), symbol).is_some() {
            self.problem(file, name, "this name is declared twice");
        }
    }

    fn compile_fields(&mut self) {
        for at in 0..self.declared.len() {
            let Declared { file, proto, features, .. } = self.declared[at];
            let scope = self.schema.messages[at].name.clone();
            if proto.fields.len() > MAX_FIELDS {
                self.problem(file, &scope, &format!("a message may have at most {MAX_FIELDS} fields"));
                continue;
            }
            let (oneofs, places) = match field::oneofs(proto) {
                Ok(oneofs) => oneofs,
                Err(why) => {
                    self.problem(file, &scope, &why);
                    continue;
                }
            };
            let in_entry = self.schema.messages[at].map_entry;
            let names = Names { schema: &self.schema, scope: &scope };
            let mut fields = Vec::with_capacity(proto.fields.len());
            let mut written = rules::Written::default();
            let mut problems = Vec::new();
            for field in &proto.fields {
                let compiled = field::compile(&names, in_entry, &places, field, features);
                match compiled.and_then(|compiled| Ok((compiled, rules::of(&field.options)?))) {
                    Ok((compiled, said)) => {
                        written.field(fields.len(), said);
                        fields.push(compiled);
                    }
                    Err(why) => problems.push(Problem::new(&file.name, join(&scope, &field.name), why)),
                }
            }
            for (oneof, place) in proto.oneofs.iter().zip(&places) {
                match rules::of(&oneof.options) {
                    Ok(said) => written.oneof(place.index(), said),
                    Err(why) => problems.push(Problem::new(&file.name, join(&scope, &oneof.name), why)),
                }
            }
            self.schema.rules.extend(MessageId(at as u32), written);
            if in_entry {
                fields.sort_by_key(|field| field.number);
            }
            self.problems.append(&mut problems);
            self.schema.messages[at].oneofs = oneofs.into();
            self.declared[at].fields = fields;
        }
    }

    /// Extensions become fields of their extendee, named as ProtoJSON names them: `[pkg.ext]`.
    fn compile_extensions(&mut self) {
        for Extension { file, scope, proto, features } in std::mem::take(&mut self.extensions) {
            if proto.extendee.starts_with(".google.protobuf.") {
                continue; // custom options: they describe schemas and never travel
            }
            let name = join(&scope, &proto.name);
            let names = Names { schema: &self.schema, scope: &scope };
            let compiled = field::compile_extension(&names, &name, proto, features);
            match compiled.and_then(|(extendee, field)| Ok((extendee, field, rules::of(&proto.options)?))) {
                Ok((extendee, field, said)) => {
                    let fields = &mut self.declared[extendee.0 as usize].fields;
                    if fields.len() < MAX_FIELDS {
                        let written = rules::predefined(&proto.options).unwrap_or_default();
                        self.schema.rules.define(extendee, field.number, written);
                        self.schema.rules.field(extendee, fields.len(), said);
                        fields.push(field);
                    } else {
                        self.problem(file, &name, &format!("a message may have at most {MAX_FIELDS} fields"));
                    }
                }
                Err(why) => self.problem(file, &name, &why),
            }
        }
    }

    fn index_messages(&mut self) {
        for at in 0..self.declared.len() {
            let Declared { file, strict, ref mut fields, .. } = self.declared[at];
            let fields = std::mem::take(fields);
            let message = &mut self.schema.messages[at];
            message.fields = fields.into();
            let problems = index::build(message, strict);
            let name = message.name.clone();
            for why in problems {
                self.problem(file, &name, &why);
            }
        }
        for at in 0..self.declared.len() {
            let Declared { file, proto, .. } = self.declared[at];
            let name = self.schema.messages[at].name.clone();
            if self.schema.messages[at].fields.len() < proto.fields.len() {
                continue; // a field has its own problem already
            }
            let message = &self.schema.messages[at];
            if message.well_known == WellKnown::MessageSet {
                if message.fields.iter().any(|field| field.shape != Shape::Item) {
                    self.problem(file, &name, "a message with message_set_wire_format has no fields, only extensions");
                }
                continue;
            }
            match well_known::kind(&self.schema, message) {
                Ok(kind) => self.schema.messages[at].well_known = kind,
                Err(why) => self.problem(file, &name, &why),
            }
            for why in index::check_maps(&self.schema, &self.schema.messages[at]) {
                self.problem(file, &name, &why);
            }
        }
    }

    fn compile_services(&mut self, files: &[Source]) {
        let protos = files.iter().flat_map(|source| source.file.services.iter().map(|service| (&source.file, service)));
        let mut compiled = Vec::new();
        for (file, proto) in protos {
            let name = join(&file.package, &proto.name);
            let Some(Symbol::Service(index)) = self.schema.symbol(&name) else { continue };
            let (methods, problems) = service::compile(&self.schema, &name, &file.name, proto);
            self.problems.extend(problems);
            compiled.push((index as usize, methods));
        }
        for (index, methods) in compiled {
            self.schema.services[index].methods = methods;
        }
    }

    fn options<T: prost::Message + Default>(&mut self, file: &File, symbol: &str, options: &[Vec<u8>]) -> T {
        decode(options).unwrap_or_else(|why| {
            self.problem(file, symbol, &why);
            T::default()
        })
    }

    fn problem(&mut self, file: &File, symbol: &str, message: &str) {
        self.problems.push(Problem::new(&file.name, symbol, message));
    }
}
