//! Calls whose telephone vanished: no packet of theirs goes out or comes in any more.

use super::CALLS_MAX;
use crate::message::Message;
use crate::parse::find;
use std::collections::{HashSet, VecDeque};

/// The `Call-ID`s of vanished calls; beyond [`CALLS_MAX`] the oldest is forgotten.
#[derive(Default)]
pub(super) struct Vanished {
    call_ids: HashSet<String>,
    oldest_first: VecDeque<String>,
}

impl Vanished {
    pub(super) fn insert(&mut self, call_id: &str) {
        if !self.call_ids.insert(call_id.to_owned()) {
            return;
        }
        self.oldest_first.push_back(call_id.to_owned());
        if self.oldest_first.len() > CALLS_MAX
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.call_ids.remove(&oldest);
        }
    }

    pub(super) fn has_call_id_of(&self, message: &Message) -> bool {
        let headers = match message {
            Message::Request(request) => &request.headers,
            Message::Response(response) => &response.headers,
        };
        self.call_ids.contains(headers.call_id())
    }

    /// The same for a message of ours, already written.
    pub(super) fn has_call_id_in(&self, bytes: &[u8]) -> bool {
        const FIELD: &[u8] = b"\r\nCall-ID: ";
        if self.call_ids.is_empty() {
            return false;
        }
        let Some(start) = find(bytes, FIELD) else { return false };
        let value = &bytes[start + FIELD.len()..];
        let end = find(value, b"\r\n").unwrap_or(value.len());
        std::str::from_utf8(&value[..end]).is_ok_and(|call_id| self.call_ids.contains(call_id))
    }
}
