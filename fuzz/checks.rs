//! What must hold for any input: the fuzz targets run these functions, and a test replays every corpus file through them.

use std::cell::RefCell;
use std::sync::LazyLock;

use bytes::Bytes;
use prost_reflect::{DescriptorPool, DynamicMessage};
use transom_transcode::canonical::canonical;
use transom_transcode::frame::{self, Deframer, FrameError, Message, PREFIX, connect as connect_frame, timeout, web};
use transom_transcode::invalid::{Invalid, Kind as Refusal};
use transom_transcode::plan::{BindPlan, Limits, OutOptions, OutPlan, Unknown};
use transom_transcode::router::{Captures, Found, RouterBuilder};
use transom_transcode::schema::{HttpRule, MessageId, Schema};
use transom_transcode::scratch::Scratch;
use transom_transcode::sound::is_sound;
use transom_transcode::template::Template;
use transom_transcode::to_json::to_json;
use transom_transcode::to_wire::{Input, Media, to_wire};

/// Why what is right may be refused.
const BOUNDS: [Refusal; 3] = [Refusal::TooDeep, Refusal::TooLarge, Refusal::TooMuchWork];

const LIMITS: Limits = Limits { depth: 60, output: 1 << 20 };
/// What is in the buffer before a translation appends to it.
const BEFORE: &[u8] = b"before";

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let mut builder = Schema::builder();
    builder.add(include_bytes!("fuzz.binpb"), "fuzz.binpb").expect("the set is well-formed");
    builder.build().expect("the set is consistent")
});

/// The same to another runtime.
static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let set: &[u8] = include_bytes!("fuzz.binpb");
    // With google/protobuf.
    let mut pool = DescriptorPool::global();
    pool.decode_file_descriptor_set(set).expect("the set is well-formed");
    pool
});

/// The messages that the first byte of an input chooses from. Not all that is a `Strict` can be read back: required
/// fields are asked for in JSON only.
static MESSAGES: LazyLock<Vec<MessageId>> = LazyLock::new(|| {
    let names = ["fuzz.Open", "fuzz.Closed", "google.protobuf.Value", "google.protobuf.Any", "fuzz.Strict"];
    names.iter().filter_map(|name| SCHEMA.message_named(name)).collect()
});

/// How JSON requests bind: whole messages, one field as the body, none.
static BINDINGS: LazyLock<Vec<BindPlan>> = LazyLock::new(|| {
    let mut plans: Vec<BindPlan> = MESSAGES.iter().map(|id| BindPlan::whole(*id)).collect();
    for (template, body) in [
        ("/{string}/{nested.string=**}", ""),
        ("/{nested.int32}", "*"),
        ("/{nested.bytes}/{left}", "nested"),
        ("/{color}", "many"),
    ] {
        let template = Template::parse(template).expect("a template");
        let rule = HttpRule {
            method: "POST".into(),
            template: template.text().into(),
            body: body.into(),
            response_body: "".into(),
        };
        let unknown = if body == "nested" { Unknown::Ignore } else { Unknown::Refuse };
        plans.push(BindPlan::compile(&SCHEMA, MESSAGES[0], &template, &rule, unknown).expect("a binding"));
    }
    plans
});

thread_local! {
    // One for all inputs: what a translation leaves behind must not show in the next.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// A template, a newline, a path: parsing, inserting and finding never panic, and a match is of this template.
pub(crate) fn template(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (text, path) = text.split_once('\n').unwrap_or((text, "/"));
    let mut builder = RouterBuilder::new();
    for (at, other) in ["/v1/{name=shelves/*}", "/v1/{id}:get", "/{rest=**}/end:get"].iter().enumerate() {
        let other = Template::parse(other).expect("a template");
        assert!(builder.insert("GET", &other, at).is_ok());
    }
    let variables = match Template::parse(text) {
        Ok(template) => {
            assert_eq!(template.text(), text);
            let _ = builder.insert("GET", &template, usize::MAX);
            template.variables().len()
        }
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.column));
            0
        }
    };
    let router = builder.build();
    let mut captures = Captures::default();
    match router.find("HEAD", path, &mut captures) {
        Found::Route(&route) => {
            let values: Vec<&str> = captures.iter(path).collect();
            assert_eq!(values.len(), if route == usize::MAX { variables } else { 1 });
            assert!(values.iter().all(|value| path.contains(value)));
            assert!(router.candidates(path).iter().any(|(_, candidate)| **candidate == route));
        }
        Found::NotFound => assert!(router.candidates(path).is_empty()),
        Found::BadEscape => assert!(path.contains('%')),
        Found::MethodNotAllowed(_) => panic!("HEAD is GET"),
    }
}

/// A byte that chooses the binding, then JSON; for bindings with a path two captures and a query in front, a line each.
/// What is accepted prints as JSON that reads and prints as the same again.
pub(crate) fn json_to_wire(data: &[u8]) {
    let [choice, rest @ ..] = data else { return };
    let choice = usize::from(*choice);
    let plan = &BINDINGS[choice % BINDINGS.len()];
    let media = if choice >= 192 { Media::Form } else { Media::Json };
    let mut lines = rest.splitn(4, |byte| *byte == b'\n').map(|line| std::str::from_utf8(line).unwrap_or_default());
    let mut line = || lines.next().unwrap_or_default();
    let captures;
    let input = if plan.captures.is_empty() {
        Input { body: rest, media, ..Input::default() }
    } else {
        captures = [line(), line()];
        Input {
            captures: &captures[..plan.captures.len()],
            query: line(),
            body: line().as_bytes(),
            media,
            later: choice % 2 != 0,
        }
    };
    if let Ok(wire) = encode(plan, &input) {
        if wire.is_empty() {
            return; // no body and an empty form are the empty message, and an empty google.protobuf.Value has no JSON
        }
        let out = OutPlan::whole(plan.input, OutOptions::default());
        let json = decode(&out, &wire).unwrap_or_else(|why| panic!("{why}: {wire:?}"));
        stable(plan.input, &json);
    }
}

/// A byte that chooses message and options, then protobuf. What is accepted is JSON that reads and prints as the same.
pub(crate) fn wire_to_json(data: &[u8]) {
    let [choice, wire @ ..] = data else { return };
    let choice = usize::from(*choice);
    let output = MESSAGES[choice % MESSAGES.len()];
    let bits = choice / MESSAGES.len();
    let options = OutOptions {
        emit_defaults: bits & 1 != 0,
        enums_as_numbers: bits & 2 != 0,
        proto_names: bits & 4 != 0,
        int64_as_numbers: bits & 8 != 0,
        unknown_any: bits & 16 != 0,
    };
    let Ok(json) = decode(&OutPlan::whole(output, options), wire) else { return };
    assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok(), "{}", String::from_utf8_lossy(&json));
    if let Ok(json) = decode(&OutPlan::whole(output, OutOptions::default()), wire) {
        stable(output, &json);
    }
}

/// JSON that we printed reads and prints as the same.
fn stable(message: MessageId, json: &[u8]) {
    let wire = match encode(&BindPlan::whole(message), &Input { body: json, ..Input::default() }) {
        Ok(wire) => wire,
        Err(why) if why.message.contains("required") => return,
        Err(why) => panic!("{why}: {}", String::from_utf8_lossy(json)),
    };
    let out = OutPlan::whole(message, OutOptions::default());
    let again = decode(&out, &wire).unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(json)));
    assert!(again == json, "{}\nbecame\n{}", String::from_utf8_lossy(json), String::from_utf8_lossy(&again));
}

fn encode(plan: &BindPlan, input: &Input<'_>) -> Result<Vec<u8>, Invalid> {
    appended(|scratch, out| to_wire(&SCHEMA, plan, input, &LIMITS, scratch, out))
}

fn decode(plan: &OutPlan, wire: &[u8]) -> Result<Vec<u8>, Invalid> {
    appended(|scratch, out| to_json(&SCHEMA, plan, wire, &LIMITS, scratch, out))
}

/// What a translation appends: what was there stays, of a refused one nothing stays, and limits hold.
fn appended(translate: impl FnOnce(&mut Scratch, &mut Vec<u8>) -> Result<(), Invalid>) -> Result<Vec<u8>, Invalid> {
    let mut out = BEFORE.to_vec();
    let done = SCRATCH.with_borrow_mut(|scratch| translate(scratch, &mut out));
    assert!(out.starts_with(BEFORE) && out.len() - BEFORE.len() <= LIMITS.output);
    assert!(done.is_ok() || out == BEFORE, "a refused translation left something");
    done.map(|()| out.split_off(BEFORE.len()))
}

/// A byte that chooses the message, then protobuf. What is sound is a message of its type to another runtime too, and its
/// canonical form is sound.
pub(crate) fn sound(data: &[u8]) {
    let [choice, wire @ ..] = data else { return };
    let id = MESSAGES[usize::from(*choice) % MESSAGES.len()];
    if !is_sound(&SCHEMA, id, wire) {
        return;
    }
    let descriptor = POOL.get_message_by_name(&SCHEMA.message(id).name).expect("a message of the set");
    let read = DynamicMessage::decode(descriptor, wire).map(|_| ());
    assert!(read.is_ok(), "sound, and not to prost-reflect: {read:?}");
    match appended(|scratch, out| canonical(&SCHEMA, id, wire, &LIMITS, scratch, out)) {
        Ok(once) => assert!(is_sound(&SCHEMA, id, &once), "its canonical form is not sound: {once:?}"),
        Err(why) => assert!(BOUNDS.contains(&why.kind), "sound, and not to the canonical form: {why}"),
    }
}

/// The length of a descriptor set in two bytes, the set, then a message as protobuf and as JSON of each of its first types.
/// Nothing panics, and what is printed is JSON.
pub(crate) fn descriptor_set(data: &[u8]) {
    let [low, high, rest @ ..] = data else { return };
    let (set, message) = rest.split_at(usize::from(u16::from_le_bytes([*low, *high])).min(rest.len()));
    let mut builder = Schema::builder();
    let _ = builder.add(set, "fuzz");
    let Ok(schema) = builder.build() else { return };
    for id in (0..schema.messages.len().min(4) as u32).map(MessageId) {
        let plan = OutPlan::whole(id, OutOptions::default());
        if let Ok(json) = appended(|scratch, out| to_json(&schema, &plan, message, &LIMITS, scratch, out)) {
            assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok(), "{}", String::from_utf8_lossy(&json));
        }
        let rewrite = |wire: &[u8]| appended(|scratch, out| canonical(&schema, id, wire, &LIMITS, scratch, out));
        if let Ok(once) = rewrite(message) {
            // A shorter text has a smaller budget.
            let again = rewrite(&once).map_err(|why| why.kind);
            assert!(again == Ok(once) || again == Err(Refusal::TooMuchWork), "its canonical form is not canonical");
        }
        let input = Input { body: message, ..Input::default() };
        let _ = appended(|scratch, out| to_wire(&schema, &BindPlan::whole(id), &input, &LIMITS, scratch, out));
    }
}

/// A byte that is the limit, one that is the length of chunks, then a body of gRPC frames. However it is cut, its messages
/// are those that its prefixes say, none is longer than the limit, and written again they are the same bytes.
pub(crate) fn frame(data: &[u8]) {
    let [limit, size, body @ ..] = data else { return };
    let limit = usize::from(*limit);
    let (messages, error, ended) = deframed(body.chunks(usize::from(*size).max(1)), limit);
    assert!((messages.clone(), error, ended) == deframed([body], limit), "it matters how the body is cut");
    let mut rest = body;
    for message in &messages {
        assert!(message.bytes.len() <= limit);
        let mut prefix = frame::prefix(message.bytes.len());
        prefix[0] = u8::from(message.compressed);
        rest = rest.strip_prefix(&prefix).and_then(|rest| rest.strip_prefix(&*message.bytes)).expect("a frame");
    }
    match (error, rest) {
        (Some(FrameError::Flag(flag)), [first, ..]) => assert!(flag == *first && flag > 1),
        (Some(FrameError::TooLarge { len }), [_, len_bytes @ ..]) => {
            assert!(len > limit && len_bytes.starts_with(&(len as u32).to_be_bytes()));
        }
        (Some(_), []) => panic!("an error without a cause"),
        (None, rest) => assert_eq!(ended, rest.is_empty()),
    }
}

/// The messages of a body in chunks, the error after them, and whether the body may end there.
fn deframed<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, limit: usize) -> (Vec<Message>, Option<FrameError>, bool) {
    let (mut deframer, mut messages) = (Deframer::new(limit), Vec::new());
    for chunk in chunks {
        deframer.push(Bytes::copy_from_slice(chunk));
        loop {
            match deframer.next() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error), false),
            }
        }
    }
    (messages, None, deframer.is_empty())
}

/// Connect: the query of a GET, which written anew reads as the same; a timeout, which passed on is never longer; and the
/// end of a stream, which is no message.
pub(crate) fn connect(data: &[u8]) {
    let mut end = Vec::new();
    connect_frame::end(data, &mut end);
    assert!(end[PREFIX..] == *data && deframed([&*end], data.len()).1 == Some(FrameError::Flag(2)));
    let Ok(text) = std::str::from_utf8(data) else { return };
    for wait in [connect_frame::timeout(text), timeout::parse(text)].into_iter().flatten() {
        let passed = timeout::parse(timeout::format(wait).as_str()).expect("what is written is read");
        assert!(passed <= wait.max(std::time::Duration::from_nanos(1)));
    }
    let Ok(query) = connect_frame::Query::parse(text) else { return };
    let escaped = |bytes: &[u8]| bytes.iter().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let [version, encoding, compression] =
        [&query.version, &query.encoding, &query.compression].map(|text| escaped(text.as_bytes()));
    for (base64, message) in
        [("", escaped(&query.message)), ("&base64=1", escaped(web::to_text(&query.message).as_bytes()))]
    {
        let again =
            format!("connect={version}&encoding={encoding}&compression={compression}{base64}&message={message}");
        assert!(connect_frame::Query::parse(&again).as_ref() == Ok(&query), "{again}");
    }
}

/// gRPC-Web: a byte that is the length of chunks, then a body in base64, however it is cut; bytes that are written as text
/// and read again; and trailers, of which no value makes another.
pub(crate) fn grpc_web(data: &[u8]) {
    let [size, body @ ..] = data else { return };
    let size = usize::from(*size).max(1);
    let read = from_text(body.chunks(size));
    assert!(read == from_text([body]), "it matters how the text is cut");
    if let Ok((bytes, true)) = &read {
        assert!(from_text([web::to_text(bytes).as_bytes()]) == Ok((bytes.clone(), true)));
    }
    // Texts in a row, each with its padding.
    let texts: String = body.chunks(size).map(web::to_text).collect();
    assert!(from_text([texts.as_bytes()]) == Ok((body.to_vec(), true)));

    let lines = body.split(|byte| *byte == b'\n').map(|line| ("x-a", line));
    let lines = lines.filter(|(_, value)| !value.iter().any(u8::is_ascii_control));
    let mut frame = Vec::new();
    web::trailers(lines.clone(), &mut frame);
    assert!(frame[0] == 0x80 && frame[1..PREFIX] == (frame.len() as u32 - PREFIX as u32).to_be_bytes());
    let block = std::str::from_utf8(&frame[PREFIX..]).map(|block| block.matches("\r\n").count());
    assert!(block.is_err() || block == Ok(lines.count()));
}

/// What a body in base64 says, and whether it may end there.
fn from_text<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<(Vec<u8>, bool), web::NotBase64> {
    let (mut reader, mut bytes) = (web::FromText::default(), Vec::new());
    for chunk in chunks {
        reader.push(chunk, &mut bytes)?;
    }
    Ok((bytes, reader.is_empty()))
}
