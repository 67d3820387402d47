//! A screening verdict: what was asked, what the answer was, and on what authority.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// One rule's answer about one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Check {
    /// The rule's name, such as `calling_hours`.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub rule: Cow<'static, str>,
    /// Whether the call may go on.
    pub passed: bool,
    /// What was found, in words.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub finding: Cow<'static, str>,
    /// The statute or policy behind it.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub citation: Cow<'static, str>,
}

impl Check {
    /// The call may go on.
    pub fn pass(
        rule: &'static str,
        finding: impl Into<Cow<'static, str>>,
        citation: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { rule: Cow::Borrowed(rule), passed: true, finding: finding.into(), citation: citation.into() }
    }

    /// The call is refused.
    pub fn refuse(
        rule: &'static str,
        finding: impl Into<Cow<'static, str>>,
        citation: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { rule: Cow::Borrowed(rule), passed: false, finding: finding.into(), citation: citation.into() }
    }
}
