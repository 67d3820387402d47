//! Connected bidders: one WebSocket session each, over which calls are offered and bids come back.
//!
//! `sessions` counts them and tells them of changed bids; `session` is the conversation; `messages` is its language; `asked` is
//! what may still be answered.

mod asked;
mod messages;
mod session;
mod sessions;

pub(crate) use session::{MESSAGE_BYTES_MAX, Session, is_connected};
pub(crate) use sessions::{BidChange, Sessions, TooMany};
