//! The section `[keys]`: what a site asks of its keys.

use jiff::SignedDuration;

use super::section::{Section, Wrong, wrong};
use crate::admin::policy::Policy;
use crate::model::expiry;

const SPAN: &str = "write a span of time in quotes, such as \"90d\", \"12h\" or \"4w\"";
const SPAN_OR_NEVER: &str = "write a span of time in quotes, such as \"90d\" or \"52w\", or \"never\"";

pub(super) fn read(section: &mut Section<'_>) -> Policy {
    let default = Policy::default();
    let policy = Policy {
        max_expiry: section.take("max_expiry", default.max_expiry, span_or_never),
        default_expiry: section.take("default_expiry", default.default_expiry, span_or_never),
        overlap: section.take("overlap", default.overlap, |value| span(value, SPAN)),
    };
    if let (Some(max), Some(default)) = (policy.max_expiry, policy.default_expiry)
        && default > max
    {
        section.check("default_expiry", wrong("is longer than max_expiry", "write that or less"));
    }
    policy
}

fn span_or_never(value: &toml::Value) -> Result<Option<SignedDuration>, Vec<Wrong>> {
    if value.as_str() == Some("never") {
        return Ok(None);
    }
    match span(value, SPAN_OR_NEVER)? {
        span if span.is_zero() => wrong("is no time at all", SPAN_OR_NEVER),
        span => Ok(Some(span)),
    }
}

fn span(value: &toml::Value, remedy: &str) -> Result<SignedDuration, Vec<Wrong>> {
    match value.as_str().map(expiry::span) {
        Some(Ok(span)) => Ok(span),
        Some(Err(_)) => wrong("is no span of time", remedy),
        None => wrong(format!("is of type {}", value.type_str()), remedy),
    }
}
