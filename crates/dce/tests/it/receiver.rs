//! Somebody else's HTTP server on loopback, which takes webhooks, or does not, as a test says.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What it does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Answers with this status.
    Answers(u16),
    /// Neither answers nor closes.
    Hangs,
    /// Closes the connection.
    Closes,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) id: String,
    pub(crate) timestamp: String,
    pub(crate) signature: String,
    pub(crate) event: Value,
    pub(crate) manner: Manner,
}

/// It runs until the test ends.
#[derive(Clone)]
pub(crate) struct Receiver {
    address: SocketAddr,
    manner: Arc<Mutex<Manner>>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    pub(crate) fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let receiver = Self {
            address: listener.local_addr().expect("an address"),
            manner: Arc::new(Mutex::new(manner)),
            received: Arc::default(),
        };
        let own = receiver.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let own = own.clone();
                std::thread::spawn(move || own.serve(&stream));
            }
        });
        receiver
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    pub(crate) fn behave(&self, manner: Manner) {
        *self.manner.lock().expect("sound") = manner;
    }

    /// All requests so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().expect("sound").clone()
    }

    /// The events that were taken, as `(id, type)`, in the order they came.
    pub(crate) fn taken(&self) -> Vec<(String, String)> {
        let taken =
            self.received().into_iter().filter(|one| matches!(one.manner, Manner::Answers(200..=299)));
        taken.map(|one| (one.id, one.event["type"].as_str().expect("a type").to_owned())).collect()
    }

    /// Requests on one connection, one after the other.
    fn serve(&self, stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let mut received = Received {
                id: String::new(),
                timestamp: String::new(),
                signature: String::new(),
                event: Value::Null,
                manner: Manner::Closes,
            };
            let mut length = 0;
            let mut line = String::new();
            loop {
                line.clear();
                if reader.read_line(&mut line).ok()? == 0 {
                    return None;
                }
                let Some((name, value)) = line.trim().split_once(": ") else {
                    if line.trim().is_empty() {
                        break;
                    }
                    continue;
                };
                match name.to_ascii_lowercase().as_str() {
                    "webhook-id" => value.clone_into(&mut received.id),
                    "webhook-timestamp" => value.clone_into(&mut received.timestamp),
                    "webhook-signature" => value.clone_into(&mut received.signature),
                    "content-length" => length = value.parse().ok()?,
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            received.event = serde_json::from_slice(&body).ok()?;
            received.manner = *self.manner.lock().expect("sound");
            let manner = received.manner;
            self.received.lock().expect("sound").push(received);
            match manner {
                Manner::Answers(status) => {
                    let mut writer = stream;
                    write!(writer, "HTTP/1.1 {status} So\r\nContent-Length: 0\r\n\r\n").ok()?;
                }
                Manner::Closes => return None,
                Manner::Hangs => loop {
                    std::thread::sleep(Duration::from_mins(1));
                },
            }
        }
    }
}
