//! The line between two nodes: TCP, on which both prove that they have the nodes' key and everything is encrypted, by the Noise
//! Protocol Framework (revision 34, pattern `NNpsk0`). There are no certificates to renew: who has the key is a node.
//!
//! On it messages are JSON, each after its length in four bytes, the whole cut into Noise's messages of at most 64 KiB, each after its
//! length in two bytes.

use hmac::{Hmac, Mac};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;
use snow::{Builder, HandshakeState, StatelessTransportState};
use std::fmt;
use std::io::{Error, ErrorKind};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_SHA256";
/// What both sides must mean by this line.
const PROLOGUE: &[u8] = b"dce nodes";
/// The longest message of Noise's, in bytes, and what it adds to its content.
const SEALED_MAX: usize = 65_535;
const SEAL: usize = 16;
/// The longest message of ours, in bytes. A bid profile with every list full is shorter.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// The longest message of the handshake, in bytes.
const HANDSHAKE_MAX: usize = 256;

/// What all nodes of an exchange have, and nobody else: 32 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeKey([u8; 32]);

/// Why a text is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not 64 hexadecimal digits; make one with: openssl rand -hex 32")]
pub struct BadNodeKey;

impl NodeKey {
    /// Reads 64 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, BadNodeKey> {
        let digits = text.trim();
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(BadNodeKey);
        }
        let mut key = [0; 32];
        for (byte, pair) in key.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| BadNodeKey)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| BadNodeKey)?;
        }
        Ok(Self(key))
    }
}

impl NodeKey {
    /// A key for something else that all nodes have in common, from which nobody finds this one.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut hmac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length");
        hmac.update(purpose.as_bytes());
        hmac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey")
    }
}

/// The end that hears. Given up while it hears, it is of no use any more.
pub(super) struct Hearing {
    stream: OwnedReadHalf,
    noise: Arc<StatelessTransportState>,
    /// Of Noise's messages, how many came.
    nonce: u64,
    plain: Vec<u8>,
}

/// The end that speaks.
pub(super) struct Speaking {
    stream: OwnedWriteHalf,
    noise: Arc<StatelessTransportState>,
    nonce: u64,
    plain: Vec<u8>,
}

/// Opens the line from this side.
pub(super) async fn call(stream: TcpStream, key: &NodeKey) -> Result<(Hearing, Speaking), Error> {
    let mut stream = stream;
    let mut handshake = builder(key)?.build_initiator().map_err(insecure)?;
    greet(&mut stream, &mut handshake).await?;
    listen(&mut stream, &mut handshake).await?;
    open(stream, handshake)
}

/// Opens the line from the other side.
pub(super) async fn answer(stream: TcpStream, key: &NodeKey) -> Result<(Hearing, Speaking), Error> {
    let mut stream = stream;
    let mut handshake = builder(key)?.build_responder().map_err(insecure)?;
    listen(&mut stream, &mut handshake).await?;
    greet(&mut stream, &mut handshake).await?;
    open(stream, handshake)
}

fn builder(key: &NodeKey) -> Result<Builder<'_>, Error> {
    let pattern = PATTERN.parse().map_err(insecure)?;
    Builder::new(pattern).prologue(PROLOGUE).and_then(|builder| builder.psk(0, &key.0)).map_err(insecure)
}

/// Whoever is not who it should be says nothing that can be understood.
fn insecure(error: snow::Error) -> Error {
    Error::new(ErrorKind::PermissionDenied, format!("not a node with our key ({error})"))
}

async fn greet(stream: &mut TcpStream, handshake: &mut HandshakeState) -> Result<(), Error> {
    let mut sealed = [0; HANDSHAKE_MAX];
    let length = handshake.write_message(&[], &mut sealed).map_err(insecure)?;
    let mut framed = u16::try_from(length).map_err(Error::other)?.to_be_bytes().to_vec();
    framed.extend_from_slice(&sealed[..length]);
    stream.write_all(&framed).await
}

async fn listen(stream: &mut TcpStream, handshake: &mut HandshakeState) -> Result<(), Error> {
    let length = usize::from(stream.read_u16().await?);
    let mut sealed = [0; HANDSHAKE_MAX];
    let sealed = sealed.get_mut(..length).ok_or_else(|| Error::from(ErrorKind::InvalidData))?;
    stream.read_exact(sealed).await?;
    handshake.read_message(sealed, &mut [0; HANDSHAKE_MAX]).map(|_| ()).map_err(insecure)
}

fn open(stream: TcpStream, handshake: HandshakeState) -> Result<(Hearing, Speaking), Error> {
    stream.set_nodelay(true)?;
    let noise = Arc::new(handshake.into_stateless_transport_mode().map_err(insecure)?);
    let (hearing, speaking) = stream.into_split();
    let hearing = Hearing { stream: hearing, noise: Arc::clone(&noise), nonce: 0, plain: Vec::new() };
    Ok((hearing, Speaking { stream: speaking, noise, nonce: 0, plain: Vec::new() }))
}

impl Hearing {
    /// The next message.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        loop {
            if let Some(message) = self.whole()? {
                return Ok(message);
            }
            let length = usize::from(self.stream.read_u16().await?);
            let mut sealed = vec![0; length];
            self.stream.read_exact(&mut sealed).await?;
            let before = self.plain.len();
            self.plain.resize(before + length, 0);
            let opened = self.noise.read_message(self.nonce, &sealed, &mut self.plain[before..]);
            self.plain.truncate(before + opened.map_err(insecure)?);
            self.nonce += 1;
        }
    }

    /// Takes a message off what came, if all of it is here.
    fn whole<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        let Some((length, rest)) = self.plain.split_first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(Error::other)?;
        if length > MESSAGE_BYTES_MAX {
            return Err(Error::new(ErrorKind::InvalidData, format!("a message of {length} bytes")));
        }
        let Some(text) = rest.get(..length) else { return Ok(None) };
        let message = serde_json::from_slice(text)?;
        self.plain.drain(..4 + length);
        Ok(Some(message))
    }
}

impl Speaking {
    /// Sends messages together.
    pub(super) async fn say<T: Serialize>(&mut self, messages: &[T]) -> Result<(), Error> {
        self.plain.clear();
        for message in messages {
            let at = self.plain.len();
            self.plain.extend_from_slice(&[0; 4]);
            serde_json::to_writer(&mut self.plain, message)?;
            let length = u32::try_from(self.plain.len() - at - 4).map_err(Error::other)?;
            self.plain[at..at + 4].copy_from_slice(&length.to_be_bytes());
        }
        let mut sent = Vec::with_capacity(self.plain.len() + self.plain.len() / 1_024 + 64);
        for piece in self.plain.chunks(SEALED_MAX - SEAL) {
            let length = u16::try_from(piece.len() + SEAL).map_err(Error::other)?;
            sent.extend_from_slice(&length.to_be_bytes());
            let at = sent.len();
            sent.resize(at + usize::from(length), 0);
            self.noise.write_message(self.nonce, piece, &mut sent[at..]).map_err(insecure)?;
            self.nonce += 1;
        }
        self.stream.write_all(&sent).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn pair(one: &NodeKey, other: &NodeKey) -> [Result<(Hearing, Speaking), Error>; 2] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let calling = async { call(TcpStream::connect(address).await?, one).await };
        let answering = async { answer(listener.accept().await?.0, other).await };
        let (called, answered) = tokio::join!(calling, answering);
        [called, answered]
    }

    fn key(digit: &str) -> NodeKey {
        NodeKey::parse(&digit.repeat(64)).expect("64 digits")
    }

    #[tokio::test]
    async fn messages_of_every_size_arrive() {
        let [one, other] = pair(&key("a"), &key("a")).await;
        let ((_, mut speaking), (mut hearing, _)) = (one.expect("opened"), other.expect("opened"));
        let sizes = [0, 1, 65_500, 65_519, 65_520, 200_000];
        let sent: Vec<String> = sizes.iter().map(|size| "x".repeat(*size)).collect();
        let hearing = tokio::spawn(async move {
            let mut heard: Vec<String> = Vec::new();
            while heard.len() < sizes.len() {
                heard.push(hearing.next().await.expect("a message"));
            }
            heard
        });
        speaking.say(&sent[..1]).await.expect("sent");
        speaking.say(&sent[1..]).await.expect("sent");
        assert!(hearing.await.expect("no panic") == sent, "what was sent is what is heard");
    }

    #[tokio::test]
    async fn another_key_opens_nothing() {
        let [_, answered] = pair(&key("a"), &key("b")).await;
        let error = answered.map(|_| ()).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_key_is_64_digits() {
        for text in ["", "abc", &"g".repeat(64), &"a".repeat(63), &"ä".repeat(32)] {
            assert_eq!(NodeKey::parse(text), Err(BadNodeKey), "{text}");
        }
        assert!(
            NodeKey::parse(&format!("{}\n", "A1".repeat(32))).is_ok(),
            "a file may end with a line break"
        );
        assert_eq!(format!("{:?}", key("a")), "NodeKey", "it is not shown");
    }
}
