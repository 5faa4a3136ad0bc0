//! Demands: what a method asks of a request's message. Its strings are cleaned, then the rules of its schema must hold.

use std::sync::Arc;
use std::time::SystemTime;

use transom_transcode::plan::Limits;
use transom_transcode::sanitize::Sanitizer;
use transom_transcode::schema::{MessageId, Schema};
use transom_transcode::scratch::Scratch;
use transom_transcode::validate::Rules;

use crate::error::Error;
use crate::telemetry::{Metrics, Refusals};

/// What a method asks of its requests' messages.
pub struct Demands {
    input: MessageId,
    sanitizer: Option<Sanitizer>,
    rules: Option<Arc<Rules>>,
    /// Where its refusals are counted.
    refused: Refusals,
}

impl Demands {
    /// The demands on messages of the type `input`; none where nothing is asked of them.
    pub fn compile(
        input: MessageId,
        sanitizer: Option<Sanitizer>,
        rules: Option<&Arc<Rules>>,
        metrics: &Metrics,
    ) -> Option<Self> {
        let rules = rules.filter(|rules| rules.hold_for(input)).cloned();
        if sanitizer.is_none() && rules.is_none() {
            return None;
        }
        Some(Self { input, sanitizer, rules, refused: metrics.refusals("validate", "rules") })
    }

    /// Cleans the message that begins at `start` of `out`, and holds it to its rules; cleaned, it has `limit` bytes at most.
    ///
    /// # Errors
    /// [`Error::Violations`]; or the bytes are no message, which could not be told before.
    pub fn hold(
        &self,
        schema: &Schema,
        limit: usize,
        scratch: &mut Scratch,
        (out, start): (&mut Vec<u8>, usize),
    ) -> Result<(), Error> {
        // How deep JSON may nest was asked when it was read. Its message nests deeper: a level of a `Struct` is two.
        let limits = &Limits { depth: Limits::DEEPEST, output: limit };
        let refuse = |invalid| Error::request(invalid, limit);
        if let Some(sanitizer) = &self.sanitizer {
            let mut clean = Vec::with_capacity(out.len() - start);
            sanitizer.apply(schema, &out[start..], limits, scratch, &mut clean).map_err(refuse)?;
            out.truncate(start);
            out.extend_from_slice(&clean);
        }
        let Some(rules) = &self.rules else { return Ok(()) };
        let violations =
            rules.violations(schema, self.input, &out[start..], limits, SystemTime::now(), scratch).map_err(refuse)?;
        if violations.is_empty() {
            return Ok(());
        }
        self.refused.count();
        Err(Error::Violations(violations.into()))
    }
}
