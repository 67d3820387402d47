//! An endpoint on a real UDP socket.

use super::{CallReport, CallSpec, Endpoint, Output};
use exchange::time::Timestamp;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Datagrams taken in one go before deadlines are looked at again.
const BURST_MAX: usize = 64;
/// How long it sleeps at most when nothing is due.
const IDLE_MS: u64 = 1_000;

/// Runs `endpoint` on `socket`, places the calls that come in through `calls` and hands out the reports of all of them.
/// It ends when `reports` is closed, and gives endpoint and socket back as they are then. Datagrams that cannot be sent are lost, as
/// they are on any network.
///
/// # Errors
/// When the socket can no longer be read.
pub async fn run(
    mut endpoint: Endpoint,
    socket: UdpSocket,
    mut calls: mpsc::Receiver<CallSpec>,
    reports: mpsc::Sender<CallReport>,
) -> io::Result<(Endpoint, UdpSocket)> {
    let mut buffer = vec![0; crate::parse::MESSAGE_BYTES_MAX];
    let mut takes_calls = true;
    loop {
        let due = wake_up(endpoint.next_deadline());
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                let mut received = received;
                for _ in 0..BURST_MAX {
                    match received {
                        Ok((length, from)) => endpoint.receive(&buffer[..length], from, now()),
                        Err(error) if is_passing(&error) => break,
                        Err(error) => return Err(error),
                    }
                    received = socket.try_recv_from(&mut buffer);
                }
            }
            spec = calls.recv(), if takes_calls => match spec {
                // A call over the limit is never placed; whoever counts the reports will miss it.
                Some(spec) => drop(endpoint.place_call(&spec, now())),
                None => takes_calls = false,
            },
            () = sleep_until(due) => endpoint.tick(now()),
            () = reports.closed() => return Ok((endpoint, socket)),
        }
        while let Some(output) = endpoint.poll_output() {
            match output {
                Output::Send { to, bytes } => drop(socket.send_to(&bytes, to).await),
                Output::Report(report) => {
                    if reports.send(report).await.is_err() {
                        return Ok((endpoint, socket));
                    }
                }
            }
        }
    }
}

/// Nothing there yet, or a peer whose port is closed: neither is the end of the socket.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

fn wake_up(deadline: Option<Timestamp>) -> Instant {
    let idle_us = i64::try_from(IDLE_MS * 1_000).unwrap_or(i64::MAX);
    let wait_us = deadline.map_or(idle_us, |at| (at - now()).clamp(0, idle_us));
    Instant::now() + Duration::from_micros(wait_us.unsigned_abs())
}

fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}
