//! On a node that does not have the book: finds the node that has it, and stays in a session with it.

use super::frame::{self, Hearing, NodeKey, Speaking};
use super::link::Link;
use super::message::{FromBook, ToBook};
use super::{LIFE, SILENCE_MAX, TOGETHER_MAX};
use crate::handle::{Engine, Seat};
use crate::live_bidders::LiveBidders;
use exchange::effect::Action;
use exchange::id::CallId;
use infra::store::Reader;
use std::convert::Infallible;
use std::io::{Error, ErrorKind};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{interval, sleep, timeout};

/// The pause before the book is looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// This node, as another one sees it.
#[derive(Clone)]
pub struct Node {
    /// For people.
    pub name: String,
    /// What all nodes have.
    pub key: NodeKey,
    /// Where the node with the book leaves its address.
    pub reader: Reader,
    /// Where actions for calls on this node go.
    pub actions: UnboundedSender<(CallId, Action)>,
}

/// Looks for the book and stays with it, again and again; returns when the book is on this node.
pub async fn join(engine: Engine, node: Node) {
    let mut told = None;
    loop {
        let Seat::Elsewhere(link) = engine.seat() else { return };
        let Err(error) = one_session(&engine, &link, &node).await;
        link.end();
        engine.lose_sight();
        // The same finding is told once.
        let finding = error.to_string();
        if told.as_ref() != Some(&finding) {
            tracing::warn!(%error, "this node is without the book; looking for it");
            told = Some(finding);
        }
        sleep(LOOK_AGAIN).await;
    }
}

async fn one_session(engine: &Engine, link: &Link, node: &Node) -> Result<Infallible, Error> {
    let reader = node.reader.clone();
    let address = tokio::task::spawn_blocking(move || reader.book_address()).await.map_err(Error::other)?;
    let nowhere = || Error::new(ErrorKind::NotFound, "no node has taken the book yet");
    let address = address.map_err(Error::other)?.ok_or_else(nowhere)?;
    let silent = |what: &'static str| {
        let address = address.clone();
        move |_| Error::new(ErrorKind::TimedOut, format!("{address} {what}"))
    };
    let stream =
        timeout(SILENCE_MAX, TcpStream::connect(&address)).await.map_err(silent("cannot be reached"))??;
    let (mut hearing, speaking) =
        timeout(SILENCE_MAX, frame::call(stream, &node.key)).await.map_err(silent("does not answer"))??;
    let (to_book, messages) = unbounded_channel();
    link.begin(&address, &node.name, to_book);
    let hear = async {
        let welcome = timeout(SILENCE_MAX, hearing.next()).await.map_err(silent("says nothing"))??;
        let FromBook::Welcome = welcome else {
            return Err(Error::new(ErrorKind::InvalidData, "its first message is no welcome"));
        };
        tracing::info!(book = address, "the book is there; joined");
        engine.documents().listen(true);
        hear(hearing, link, node, engine).await
    };
    tokio::select! {
        ended = hear => ended,
        ended = speak(speaking, messages, engine.live_bidders()) => ended,
    }
}

async fn hear(mut hearing: Hearing, link: &Link, node: &Node, engine: &Engine) -> Result<Infallible, Error> {
    loop {
        let silent = |_| Error::new(ErrorKind::TimedOut, "nothing was heard of the node with the book");
        let message = timeout(SILENCE_MAX, hearing.next()).await.map_err(silent)??;
        match message {
            FromBook::Bidder(message) => engine.live_bidders().pass_on(message),
            FromBook::Changed { documents } => engine.documents().forget(&documents),
            message => {
                if let Some(action) = link.hear(message) {
                    // Without telephony nobody listens, and no call is here.
                    let _ = node.actions.send(action);
                }
            }
        }
    }
}

/// Sends what there is to say, which bidders are connected here, and signs of life.
async fn speak(
    mut speaking: Speaking,
    mut messages: UnboundedReceiver<ToBook>,
    live_bidders: &LiveBidders,
) -> Result<Infallible, Error> {
    let mut life = interval(LIFE);
    let mut connected = live_bidders.watch();
    connected.mark_changed();
    let mut together = Vec::new();
    loop {
        tokio::select! {
            // What the link says first stays first.
            biased;
            count = messages.recv_many(&mut together, TOGETHER_MAX) => {
                // The link has ended the session.
                if count == 0 {
                    return Err(Error::other("the book is on this node now"));
                }
            }
            _ = life.tick() => together.push(ToBook::Alive),
            changed = connected.changed() => {
                changed.map_err(Error::other)?;
                together.push(ToBook::Bidders { bids: live_bidders.connected_bids() });
            }
        }
        timeout(SILENCE_MAX, speaking.say(&together)).await??;
        together.clear();
    }
}
