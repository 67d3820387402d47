//! Connected bidders: one session each, over which calls are offered and bids come back.
//!
//! `sessions` counts them and tells them of changed bids; `session` is the conversation; `messages` is what is said in it; `asked`
//! is what may still be answered. It is held over a `line`: a `web_socket` that speaks `json`, or a stream of `grpc`.

mod sessions;
mod session;
mod asked;
mod messages;
mod line;
mod json;
mod web_socket;

pub(crate) use line::{End, Heard, Line};
pub(crate) use messages::{Answer, MESSAGE_BYTES_MAX, Misread, Offer, ToBidder, invalid};
pub(crate) use session::{Session, is_connected};
pub(crate) use sessions::{BidChange, Sessions};
pub(crate) use web_socket::WebSocketLine;
