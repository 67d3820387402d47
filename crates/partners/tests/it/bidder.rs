//! A bidder: a real HTTP server that behaves, or misbehaves, as a test says.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// What a bidder does with one request.
#[derive(Debug, Clone)]
pub(crate) enum Behaviour {
    /// Writes these bytes and reads on.
    Write(String),
    /// Writes these bytes and closes the connection.
    WriteAndClose(String),
    /// Closes the connection.
    Close,
    /// Neither answers nor closes.
    Hang,
    /// Waits for [`Bidder::release`], then writes these bytes.
    WriteWhenReleased(String),
    /// Writes these bytes one by one, with a pause after each.
    Drip(String),
    /// Writes the first part, and then the second for as long as it is read.
    Endless(String, String),
}

/// One of them, running until the test ends.
#[derive(Debug, Clone)]
pub(crate) struct Bidder {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
    released: Arc<Semaphore>,
}

/// A whole answer.
pub(crate) fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// An answer with a bid.
pub(crate) fn bid(price: &str) -> String {
    answer("200 OK", &format!(r#"{{"bid":{price}}}"#))
}

impl Bidder {
    /// A bidder that does the same with each request.
    pub(crate) async fn always(behaviour: Behaviour) -> Self {
        Self::start(None, move |_| behaviour.clone()).await
    }

    /// A bidder that does something with each request, by its number from 0.
    pub(crate) async fn by_turn(behave: impl Fn(usize) -> Behaviour + Send + Sync + 'static) -> Self {
        Self::start(None, behave).await
    }

    /// A bidder that speaks TLS, once it is released.
    pub(crate) async fn over_tls(acceptor: TlsAcceptor, behaviour: Behaviour) -> Self {
        Self::start(Some(acceptor), move |_| behaviour.clone()).await
    }

    async fn start(
        acceptor: Option<TlsAcceptor>,
        behave: impl Fn(usize) -> Behaviour + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let bidder = Self {
            address: listener.local_addr().expect("an address"),
            connections: Arc::default(),
            requests: Arc::default(),
            released: Arc::new(Semaphore::new(0)),
        };
        let (own, behave) = (bidder.clone(), Arc::new(behave));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                own.connections.fetch_add(1, Ordering::SeqCst);
                let (own, behave, acceptor) = (own.clone(), Arc::clone(&behave), acceptor.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => own.serve(stream, &*behave).await,
                        Some(acceptor) => {
                            own.wait_for_release().await;
                            let stream = acceptor.accept(stream).await.expect("a TLS handshake");
                            own.serve(stream, &*behave).await;
                        }
                    }
                });
            }
        });
        bidder
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many connections were made to it.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// What it was asked: head and body, as they came.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic").clone()
    }

    /// Lets all that waits go on, now and later.
    pub(crate) fn release(&self) {
        self.released.add_permits(1);
    }

    /// The permit stays: one release is for all.
    async fn wait_for_release(&self) {
        drop(self.released.acquire().await.expect("never closed"));
    }

    async fn serve<Stream>(&self, mut stream: Stream, behave: &(impl Fn(usize) -> Behaviour + ?Sized))
    where
        Stream: AsyncRead + AsyncWrite + Unpin,
    {
        while let Some(request) = read_request(&mut stream).await {
            let turn = {
                let mut requests = self.requests.lock().expect("no panic");
                requests.push(request);
                requests.len() - 1
            };
            // The client may have gone: that is its right.
            if self.behave(&mut stream, behave(turn)).await.is_none() {
                return;
            }
        }
    }

    /// `None` to end the connection.
    async fn behave<Stream>(&self, stream: &mut Stream, behaviour: Behaviour) -> Option<()>
    where
        Stream: AsyncRead + AsyncWrite + Unpin,
    {
        match behaviour {
            Behaviour::Write(bytes) => stream.write_all(bytes.as_bytes()).await.ok(),
            Behaviour::WriteAndClose(bytes) => {
                stream.write_all(bytes.as_bytes()).await.ok();
                None
            }
            Behaviour::Close => None,
            Behaviour::Hang => std::future::pending().await,
            Behaviour::WriteWhenReleased(bytes) => {
                self.wait_for_release().await;
                stream.write_all(bytes.as_bytes()).await.ok()
            }
            Behaviour::Drip(bytes) => {
                for byte in bytes.as_bytes() {
                    stream.write_all(&[*byte]).await.ok()?;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Some(())
            }
            Behaviour::Endless(first, then) => {
                stream.write_all(first.as_bytes()).await.ok()?;
                loop {
                    stream.write_all(then.as_bytes()).await.ok()?;
                }
            }
        }
    }
}

/// One request, head and body; `None` at the end of the connection.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            if body.len() >= length.unwrap_or(0) {
                return Some(text.into_owned());
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
        }
    }
}
