//! What nodes say to each other.

use crate::documents::Document;
use crate::handle::{CommandError, EngineStatus, Overloaded};
use crate::live_bidders::BidderMessage;
use exchange::audit::Actor;
use exchange::effect::{Action, Command, Input};
use exchange::id::{BidProfileId, CallId};
use exchange::ping::{PingAnswer, PingRequest};
use exchange::time::Timestamp;
use infra::store::{ApiKey, LetterId};
use serde::{Deserialize, Serialize};

/// From a node to the one that has the book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToBook {
    /// The first message.
    Hello {
        protocol: u32,
        /// For people.
        node: String,
        /// The calls whose legs are on the node.
        calls: Vec<CallId>,
    },
    /// Something happened to a call.
    Call { call: CallId, input: Input },
    /// A question that has an answer, under a number of the node's own.
    Ask { number: u64, question: Question },
    /// The bid profiles of all bidders that are connected to the node.
    Bidders { bids: Vec<BidProfileId> },
    /// A sign of life.
    Alive,
}

/// What has an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Question {
    Command { command: Command, actor: Actor },
    Ping { call: CallId, request: PingRequest },
    InsertApiKey { key: ApiKey, secret_hash: [u8; 32], actor: Actor },
    RevokeApiKey { key: ApiKey, at: Timestamp, actor: Actor },
    ReplayDeadLetters { letters: Vec<LetterId>, actor: Actor },
}

/// From the node that has the book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FromBook {
    /// The answer to `Hello`.
    Welcome,
    /// Something to do for a call.
    Act { call: CallId, action: Action },
    /// The answer to the question of this number.
    Answer { number: u64, answer: Answer },
    /// For a bidder that is connected to the node.
    Bidder(BidderMessage),
    /// Documents that were changed, and are committed.
    Changed { documents: Vec<Document> },
    /// How the engine is doing; a sign of life.
    Status(EngineStatus),
}

/// What comes of a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done(Result<(), CommandError>),
    Ping(Result<PingAnswer, Overloaded>),
}
