//! What the translator writes is decoded by prost-reflect and compared as JSON, or compared byte by byte.

mod binding;
mod bounds;
mod form;
mod json;
mod mask;
mod query;
mod raw;
mod special;

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;

use super::*;
use crate::schema::HttpRule;
use crate::template::Template;

const PROTO3: &str = include_str!("three.proto");
const PROTO2: &str = include_str!("two.proto");
const HTTP_BODY: &str = include_str!("../../../../../proto/google/api/httpbody.proto");

struct Files;

impl protox::file::FileResolver for Files {
    fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
        match name {
            "three.proto" => protox::file::File::from_source(name, PROTO3),
            "two.proto" => protox::file::File::from_source(name, PROTO2),
            "google/api/httpbody.proto" => protox::file::File::from_source(name, HTTP_BODY),
            _ => protox::file::GoogleFileResolver::new().open_file(name),
        }
    }
}

struct World {
    schema: Schema,
    pool: DescriptorPool,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let mut compiler = protox::Compiler::with_file_resolver(Files);
    compiler.include_imports(true);
    compiler.open_files(["three.proto", "two.proto"]).unwrap();
    let set = compiler.encode_file_descriptor_set();
    let mut builder = Schema::builder();
    builder.add(&set, "tests").unwrap();
    World { schema: builder.build().unwrap(), pool: DescriptorPool::decode(&*set).unwrap() }
});

fn id(message: &str) -> MessageId {
    WORLD.schema.message_named(message).unwrap_or_else(|| panic!("no {message}"))
}

/// What a request is translated with.
struct Request<'a> {
    plan: BindPlan,
    input: Input<'a>,
    limits: Limits,
}

impl<'a> Request<'a> {
    /// A JSON message.
    fn json(message: &str, body: &'a [u8]) -> Self {
        let input = Input { body, ..Input::default() };
        Self { plan: BindPlan::whole(id(message)), input, limits: Limits::default() }
    }

    /// A request of a rule.
    fn rule(template: &str, body: &str, input: Input<'a>) -> Self {
        Self { plan: plan("t.All", template, body).unwrap(), input, limits: Limits::default() }
    }

    fn ignoring(mut self) -> Self {
        self.plan.unknown = Unknown::Ignore;
        self
    }

    fn bytes(&self) -> Result<Vec<u8>, Invalid> {
        let mut scratch = Scratch::default();
        let mut out = b"frame".to_vec();
        let first = to_wire(&WORLD.schema, &self.plan, &self.input, &self.limits, &mut scratch, &mut out);
        if first.is_err() {
            assert_eq!(out, b"frame", "a refusal leaves the output as it was");
        }
        // What one translation leaves in the scratch means nothing to the next.
        let mut again = b"frame".to_vec();
        let second = to_wire(&WORLD.schema, &self.plan, &self.input, &self.limits, &mut scratch, &mut again);
        assert_eq!((&first, &out), (&second, &again));
        first.map(|()| out.split_off(5))
    }

    fn value(&self) -> Result<Value, Invalid> {
        let name = &*WORLD.schema.message(self.plan.input).name;
        let descriptor = WORLD.pool.get_message_by_name(name).unwrap();
        let bytes = self.bytes()?;
        let message = DynamicMessage::decode(descriptor, &*bytes).unwrap_or_else(|error| panic!("{error}: {bytes:x?}"));
        Ok(serde_json::to_value(message).unwrap())
    }
}

fn plan(input: &str, template: &str, body: &str) -> Result<BindPlan, String> {
    plan_of(input, "POST", template, body)
}

fn plan_of(input: &str, method: &str, template: &str, body: &str) -> Result<BindPlan, String> {
    let rule =
        HttpRule { method: method.into(), template: template.into(), body: body.into(), response_body: "".into() };
    BindPlan::compile(&WORLD.schema, id(input), &Template::parse(template).unwrap(), &rule, Unknown::Refuse)
        .map_err(|wrong| wrong.into_iter().map(|why| why.message).collect::<Vec<_>>().join("; "))
}

/// `t.All` from JSON, as prost-reflect reads it back.
fn all(json: &str) -> Result<Value, Invalid> {
    Request::json("t.All", json.as_bytes()).value()
}

/// The refusal of a JSON `t.All`.
#[track_caller]
fn refused(json: &str) -> String {
    match Request::json("t.All", json.as_bytes()).bytes() {
        Err(invalid) => invalid.to_string(),
        Ok(bytes) => panic!("{json} was taken: {bytes:x?}"),
    }
}
