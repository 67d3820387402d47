//! A screening verdict: what was asked, what the answer was, and on what authority.

use serde::{Deserialize, Serialize};

/// One rule's answer about one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Check {
    /// The rule's name, such as `calling_hours`.
    pub rule: String,
    /// Whether the call may go on.
    pub passed: bool,
    /// What was found, in words.
    pub finding: String,
    /// The statute or policy behind it.
    pub citation: String,
}
