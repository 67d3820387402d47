//! SIP methods.

use std::fmt;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Method {
    /// RFC 3261: sets up or changes a session.
    Invite,
    /// RFC 3261: confirms the final response to an INVITE.
    Ack,
    /// RFC 3261: ends a session.
    Bye,
    /// RFC 3261: gives up an INVITE.
    Cancel,
    /// RFC 3261: asks what a peer can do, or whether it lives.
    Options,
    /// RFC 3262: confirms a provisional response.
    Prack,
    /// RFC 3311: changes or refreshes a session without re-inviting.
    Update,
    /// RFC 6086: carries application data such as DTMF.
    Info,
    /// RFC 3515: asks for a transfer.
    Refer,
    /// Any other token.
    Other(Box<str>),
}

impl Method {
    /// Reads a method; methods are case-sensitive. `None` if it is no token.
    pub fn read(text: &str) -> Option<Self> {
        Some(match text {
            "INVITE" => Self::Invite,
            "ACK" => Self::Ack,
            "BYE" => Self::Bye,
            "CANCEL" => Self::Cancel,
            "OPTIONS" => Self::Options,
            "PRACK" => Self::Prack,
            "UPDATE" => Self::Update,
            "INFO" => Self::Info,
            "REFER" => Self::Refer,
            _ if crate::field::is_token(text) => Self::Other(text.into()),
            _ => return None,
        })
    }

    /// As written on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Invite => "INVITE",
            Self::Ack => "ACK",
            Self::Bye => "BYE",
            Self::Cancel => "CANCEL",
            Self::Options => "OPTIONS",
            Self::Prack => "PRACK",
            Self::Update => "UPDATE",
            Self::Info => "INFO",
            Self::Refer => "REFER",
            Self::Other(text) => text,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
