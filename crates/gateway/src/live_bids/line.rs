//! The line a session talks over: a WebSocket, or a gRPC stream.

use super::messages::{Answer, Misread, ToBidder};

/// One bidder's end of a session.
pub(crate) trait Line: Send {
    /// What comes from the bidder next. It may be given up and asked for again without a loss.
    fn hear(&mut self) -> impl Future<Output = Heard> + Send;

    /// Sends a message; waits as long as the bidder takes none, which the session bounds.
    fn tell(&mut self, message: ToBidder<'_>) -> impl Future<Output = Result<(), End>> + Send;

    /// Asks for a sign of life.
    fn ask_for_life(&mut self) -> impl Future<Output = Result<(), End>> + Send;

    /// Ends the session and says why.
    fn end(self, end: End) -> impl Future<Output = ()> + Send;
}

/// What comes from a bidder.
#[derive(Debug)]
pub(crate) enum Heard {
    /// An answer to a bid request.
    Answer(Answer),
    /// A message that cannot be used.
    Misread(Misread),
    /// That it is there.
    Life,
    /// Nothing more.
    End(End),
}

/// Why a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    BidderLeft,
    NoSignOfLife,
    TooSlow,
    TooManyFaults,
    TooLarge,
    Unreadable,
    KeyRevoked,
    SessionOver,
    Stopping,
    Internal,
}

impl End {
    /// For the bidder, with what to do.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::BidderLeft => "",
            Self::NoSignOfLife => "no sign of life for a minute; answer when you are asked for one",
            Self::TooSlow => "messages are not taken; read them as they come",
            Self::TooManyFaults => "too many messages that cannot be used",
            Self::TooLarge => "a message is too large; send at most 64 KiB",
            Self::Unreadable => "a message is none of this protocol; send those of dce/v1/live_bids.proto",
            Self::KeyRevoked => "the API key is revoked; use one that is not",
            Self::SessionOver => "the session of the API key is over; begin another and connect again",
            Self::Stopping => "the exchange is stopping; connect again when it is back",
            Self::Internal => "a defect of the exchange; connect again",
        }
    }
}
