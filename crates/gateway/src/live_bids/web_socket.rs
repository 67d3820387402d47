//! A session's line over a WebSocket (RFC 6455): one JSON text for each message.

use super::json;
use super::line::{End, Heard, Line};
use super::messages::{Misread, ToBidder};
use crate::problem::{Kind, Problem};
use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};

/// A WebSocket to a bidder.
pub(crate) struct WebSocketLine(WebSocket);

impl WebSocketLine {
    pub(crate) fn new(socket: WebSocket) -> Self {
        Self(socket)
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        self.0.send(message).await.map_err(|_| End::BidderLeft)
    }
}

impl Line for WebSocketLine {
    async fn hear(&mut self) -> Heard {
        match self.0.recv().await {
            Some(Ok(Message::Text(text))) => json::read(&text).map_or_else(Heard::Misread, Heard::Answer),
            Some(Ok(Message::Binary(_))) => {
                let problem =
                    Problem::field(Kind::MalformedRequest, "body", "is not text", "send JSON as text");
                Heard::Misread(Misread { problem, meant: None })
            }
            // Pings are answered by the WebSocket itself.
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Heard::Life,
            // It says good-bye, or the connection broke, or a frame is broken or too large: there is nothing more to read.
            Some(Ok(Message::Close(_)) | Err(_)) | None => Heard::End(End::BidderLeft),
        }
    }

    async fn tell(&mut self, message: ToBidder<'_>) -> Result<(), End> {
        let text = serde_json::to_string(&message).map_err(|error| {
            tracing::error!(%error, "message to a connected bidder cannot be written");
            End::Internal
        })?;
        self.send(Message::Text(text.into())).await
    }

    async fn ask_for_life(&mut self) -> Result<(), End> {
        self.send(Message::Ping(Bytes::new())).await
    }

    async fn end(mut self, end: End) {
        let code = match end {
            End::BidderLeft => close_code::NORMAL,
            End::Stopping => close_code::AWAY,
            End::Internal => close_code::ERROR,
            End::TooLarge => close_code::SIZE,
            End::Unreadable => close_code::INVALID,
            End::NoSignOfLife | End::TooSlow | End::TooManyFaults | End::KeyRevoked | End::SessionOver => {
                close_code::POLICY
            }
        };
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static(end.reason()) };
        // Whoever does not take it has left already.
        let _ = self.0.send(Message::Close(Some(frame))).await;
    }
}
