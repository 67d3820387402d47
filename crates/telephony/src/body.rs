//! What a message carries, passed on byte for byte: session descriptions, DTMF.

use crate::header::{Headers, Name};

/// A body and the fields that describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    fields: Vec<(Name, String)>,
    bytes: Vec<u8>,
}

impl Body {
    /// The body of a message; `None` if it has none.
    pub fn of(headers: &Headers, bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return None;
        }
        let fields = [Name::ContentType, Name::ContentDisposition, Name::ContentEncoding]
            .into_iter()
            .filter_map(|name| Some((name, headers.get(name)?.to_owned())))
            .collect();
        Some(Self { fields, bytes: bytes.to_vec() })
    }

    /// Whether it is a plain session description (RFC 8866).
    pub(crate) fn is_session_description(&self) -> bool {
        let of = |wanted: Name| self.fields.iter().find(|(name, _)| *name == wanted);
        let is_sdp = |content_type: &str| {
            content_type.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/sdp")
        };
        of(Name::ContentType).is_some_and(|(_, value)| is_sdp(value)) && of(Name::ContentEncoding).is_none()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Other bytes of the same kind.
    pub(crate) fn with_bytes(self, bytes: Vec<u8>) -> Self {
        Self { bytes, ..self }
    }

    /// Puts it into another message.
    pub fn attach(&self, headers: &mut Headers, bytes: &mut Vec<u8>) {
        for (name, value) in &self.fields {
            headers.push(*name, value);
        }
        bytes.clone_from(&self.bytes);
    }
}
