//! The testee: one request in, one answer out.

use transom_transcode::canonical::canonical;
use transom_transcode::invalid::Invalid;
use transom_transcode::plan::{BindPlan, Limits, OutOptions, OutPlan, Unknown};
use transom_transcode::schema::{MessageId, Schema};
use transom_transcode::scratch::Scratch;
use transom_transcode::to_json::to_json;
use transom_transcode::to_wire::{Input, to_wire};

use super::wire::{Answer, Format, IGNORE_UNKNOWN, Payload, Request};

const LIMITS: Limits = Limits { depth: 100, output: 64 << 20 };

/// What the runner asks for first: the failures that the testee expects. There are none.
const EXPECTED_FAILURES: &str = "conformance.FailureSet";

/// A schema, and what translations keep from request to request.
pub(super) struct Testee {
    schema: Schema,
    scratch: Scratch,
}

impl Testee {
    pub(super) fn new(schema: Schema) -> Self {
        Self { schema, scratch: Scratch::default() }
    }

    /// What the request gets.
    pub(super) fn answer(&mut self, request: &Request) -> Answer {
        if request.message_type == EXPECTED_FAILURES {
            return Answer::Protobuf(Vec::new());
        }
        let Some(id) = self.schema.message_named(&request.message_type) else {
            return Answer::RuntimeError(format!("no descriptor declares {:?}", request.message_type));
        };
        let output = match request.output() {
            output @ (Format::Protobuf | Format::Json) => output,
            Format::Jspb => return Answer::Skipped("JSPB is not spoken here".to_owned()),
            Format::Text => return Answer::Skipped("the text format is not spoken here".to_owned()),
            Format::Unspecified => return Answer::RuntimeError("no output format is requested".to_owned()),
        };
        let unknown = if request.category == IGNORE_UNKNOWN { Unknown::Ignore } else { Unknown::Refuse };
        let message = match &request.payload {
            Some(Payload::Protobuf(message)) => self.rewrite(id, message),
            Some(Payload::Json(text)) => self.read(id, text, unknown),
            Some(Payload::Jspb(_)) => return Answer::Skipped("JSPB is not spoken here".to_owned()),
            Some(Payload::Text(_)) => return Answer::Skipped("the text format is not spoken here".to_owned()),
            None => return Answer::RuntimeError("the request has no payload".to_owned()),
        };
        let message = match message {
            Ok(message) => message,
            Err(why) => return Answer::ParseError(why.to_string()),
        };
        if output == Format::Protobuf {
            return Answer::Protobuf(message);
        }
        // What came as protobuf is printed from the bytes that came, as a reply would be.
        let printed = match &request.payload {
            Some(Payload::Protobuf(original)) => self.print(id, original),
            _ => self.print(id, &message),
        };
        match printed {
            Ok(text) => Answer::Json(String::from_utf8_lossy(&text).into_owned()),
            Err(why) => Answer::SerializeError(why.to_string()),
        }
    }

    fn rewrite(&mut self, id: MessageId, message: &[u8]) -> Result<Vec<u8>, Invalid> {
        let mut out = Vec::new();
        canonical(&self.schema, id, message, &LIMITS, &mut self.scratch, &mut out)?;
        Ok(out)
    }

    fn read(&mut self, id: MessageId, text: &[u8], unknown: Unknown) -> Result<Vec<u8>, Invalid> {
        if text.is_empty() {
            return Err(Invalid::new("no text is no JSON value"));
        }
        let plan = BindPlan { unknown, ..BindPlan::whole(id) };
        let input = Input { body: text, ..Input::default() };
        let mut out = Vec::new();
        to_wire(&self.schema, &plan, &input, &LIMITS, &mut self.scratch, &mut out)?;
        Ok(out)
    }

    fn print(&mut self, id: MessageId, message: &[u8]) -> Result<Vec<u8>, Invalid> {
        let plan = OutPlan::whole(id, OutOptions::default());
        let mut out = Vec::new();
        to_json(&self.schema, &plan, message, &LIMITS, &mut self.scratch, &mut out)?;
        Ok(out)
    }
}
