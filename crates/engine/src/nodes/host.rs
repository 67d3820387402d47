//! On the node that has the book: the other nodes, each in a session of its own.

use super::frame::{self, Hearing, NodeKey, Speaking};
use super::message::{Answer, FromBook, Question, ToBook};
use super::{COME_BACK_MAX, LIFE, PROTOCOL, SILENCE_MAX, TOGETHER_MAX};
use crate::handle::{Engine, Overloaded, Seat};
use crate::inbox::Inbox;
use crate::live_bidders::BidderConnection;
use exchange::effect::{Action, EndReason, Input};
use exchange::id::{BidProfileId, CallId};
use exchange::time::Timestamp;
use std::convert::Infallible;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

/// Nodes at once, at most.
const NODES_MAX: usize = 256;

/// Takes other nodes for as long as it is polled; dropped, it ends their sessions. While the book is elsewhere they are sent away at
/// once.
pub async fn host(engine: Engine, listener: TcpListener, key: NodeKey) {
    let room = Arc::new(Semaphore::new(NODES_MAX));
    let mut sessions = JoinSet::new();
    let mut session = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = sessions.join_next() => continue,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "no connection of another node could be taken");
                tokio::time::sleep(LIFE).await;
                continue;
            }
        };
        let Ok(room) = Arc::clone(&room).try_acquire_owned() else { continue };
        let Seat::Here(inbox) = engine.seat() else { continue };
        session += 1;
        let (session, key) = (session, key.clone());
        sessions.spawn(async move {
            let Err(error) = serve(session, stream, from, inbox, &key).await;
            if error.kind() == ErrorKind::UnexpectedEof {
                tracing::info!(%from, "a node has left");
            } else {
                tracing::warn!(%from, %error, "the session of a node is over");
            }
            drop(room);
        });
    }
}

/// One node, from its first message to its end.
async fn serve(
    session: u64,
    stream: TcpStream,
    from: SocketAddr,
    inbox: Inbox,
    key: &NodeKey,
) -> Result<Infallible, Error> {
    let (mut hearing, speaking) = timeout(SILENCE_MAX, frame::answer(stream, key)).await??;
    let hello = timeout(SILENCE_MAX, hearing.next()).await??;
    let ToBook::Hello { protocol, node, calls } = hello else {
        return Err(Error::new(ErrorKind::InvalidData, "its first message is no hello"));
    };
    if protocol != PROTOCOL {
        let finding =
            format!("it speaks protocol {protocol}, this node {PROTOCOL}; run one version on all nodes");
        return Err(Error::new(ErrorKind::Unsupported, finding));
    }
    tracing::info!(%from, node, calls = calls.len(), "a node has joined");
    let (to_node, messages) = unbounded_channel();
    inbox.legs.bind(session, &to_node, calls);
    let mut last_alive_at = inbox.clock.now();
    // In this order: it believes what it reads once it is welcome.
    inbox.documents.tell(session, &to_node);
    let _ = to_node.send(FromBook::Welcome);
    let bidders = inbox.live_bidders.connect(Vec::new());
    let guest = Guest { session, inbox: inbox.clone(), to_node: to_node.clone() };
    let ended = tokio::select! {
        ended = guest.hear(hearing, bidders, &mut last_alive_at) => ended,
        ended = speak(speaking, messages, &inbox) => ended,
    };
    inbox.documents.tell_no_more(session);
    inbox.legs.lose(session, last_alive_at, Instant::now() + COME_BACK_MAX);
    ended
}

/// Sends what there is to say, and how the engine is doing.
async fn speak(
    mut speaking: Speaking,
    mut messages: UnboundedReceiver<FromBook>,
    inbox: &Inbox,
) -> Result<Infallible, Error> {
    let mut life = interval(LIFE);
    let mut together = Vec::new();
    loop {
        tokio::select! {
            _ = messages.recv_many(&mut together, TOGETHER_MAX) => {}
            _ = life.tick() => together.push(FromBook::Status(inbox.status())),
        }
        timeout(SILENCE_MAX, speaking.say(&together)).await??;
        together.clear();
    }
}

/// A node in its session.
struct Guest {
    session: u64,
    inbox: Inbox,
    to_node: UnboundedSender<FromBook>,
}

impl Guest {
    async fn hear(
        &self,
        mut hearing: Hearing,
        bidders: BidderConnection,
        last_alive_at: &mut Timestamp,
    ) -> Result<Infallible, Error> {
        let (tell, told) = unbounded_channel();
        let asking = pass_on(bidders, told, &self.to_node);
        tokio::pin!(asking);
        loop {
            let heard = tokio::select! {
                // Neither loses anything when the other is first: what is heard is heard to its end.
                heard = hear_one(&mut hearing) => heard?,
                () = &mut asking => return Err(Error::from(ErrorKind::BrokenPipe)),
            };
            *last_alive_at = self.inbox.clock.now();
            match heard {
                ToBook::Call { call, input } => self.call(call, input),
                ToBook::Ask { number, question } => self.ask(number, question),
                ToBook::Bidders { bids } => drop(tell.send(bids)),
                ToBook::Alive => {}
                ToBook::Hello { .. } => return Err(Error::new(ErrorKind::InvalidData, "a second hello")),
            }
        }
    }

    fn call(&self, call: CallId, input: Input) {
        let has_arrived = matches!(input, Input::Arrived(_));
        if has_arrived {
            self.inbox.legs.bind(self.session, &self.to_node, [call]);
        }
        if let Err(Overloaded) = self.inbox.call(call, input) {
            self.inbox.legs.forget([call]);
            let action = Action::EndCall { reason: EndReason::Stopping };
            let _ = self.to_node.send(FromBook::Act { call, action });
        }
    }

    /// Answers when the answer is there; what comes after it does not wait.
    fn ask(&self, number: u64, question: Question) {
        let (inbox, to_node) = (self.inbox.clone(), self.to_node.clone());
        tokio::spawn(async move {
            let answer = match question {
                Question::Command { command, actor } => Answer::Done(inbox.command(command, actor).await),
                Question::Ping { call, request } => Answer::Ping(inbox.ping(call, request).await),
                Question::InsertApiKey { key, secret_hash, actor } => {
                    Answer::Done(inbox.insert_api_key(key, secret_hash, actor).await)
                }
                Question::RevokeApiKey { key, at, actor } => {
                    Answer::Done(inbox.revoke_api_key(key, at, actor).await)
                }
                Question::ReplayDeadLetters { letters, actor } => {
                    Answer::Done(inbox.replay_dead_letters(letters, actor).await)
                }
            };
            // The node may be gone; it finds out what was done when it asks again.
            let _ = to_node.send(FromBook::Answer { number, answer });
        });
    }
}

async fn hear_one(hearing: &mut Hearing) -> Result<ToBook, Error> {
    let silent = |_| Error::new(ErrorKind::TimedOut, "nothing was heard of it");
    timeout(SILENCE_MAX, hearing.next()).await.map_err(silent)?
}

/// Passes on what the node's connected bidders are asked and told; ends with the session.
async fn pass_on(
    mut bidders: BidderConnection,
    mut connected: UnboundedReceiver<Vec<BidProfileId>>,
    to_node: &UnboundedSender<FromBook>,
) {
    loop {
        tokio::select! {
            message = bidders.next() => match message {
                Some(message) => drop(to_node.send(FromBook::Bidder(message))),
                None => return,
            },
            bids = connected.recv() => match bids {
                Some(bids) => bidders.serve(bids),
                None => return,
            },
        }
    }
}
