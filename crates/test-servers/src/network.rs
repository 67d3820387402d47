//! A stretch of network between a client and a server, which can be cut: nothing is refused and nothing is closed, it only does not arrive.
//!
//! While it is cut, connections are half-open and new ones wait, as they do while their first packets are lost and sent again. What it
//! does not show: a sender's own system noticing that nothing is acknowledged (`tcp_user_timeout`), for here the last metre is loopback.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Where a server listens.
#[derive(Debug, Clone)]
pub enum ServerAddress {
    /// On a port of loopback.
    Port(u16),
    /// On a socket of the file system.
    Socket(PathBuf),
}

/// The stretch. Dropping it ends its connections.
pub struct Network {
    port: u16,
    wire: Arc<Wire>,
}

#[derive(Default)]
struct Wire {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    server: Option<ServerAddress>,
    is_cut: bool,
    /// Connections of earlier generations are forgotten: nothing is carried for them any more.
    generation: u64,
    /// The clients' ends, to be broken when their connections are forgotten.
    clients: Vec<TcpStream>,
    has_ended: bool,
}

impl Network {
    /// A port of loopback that will lead to a server. Until it is known which, clients wait.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        let wire = Arc::new(Wire::default());
        let accepting = Arc::clone(&wire);
        // Ends with the program: a listener cannot be woken otherwise.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Some((generation, server)) = accepting.next_client(&client) else { return };
                // A server that is not there shows as a connection that ends at once.
                if let Ok(server) = End::to(&server) {
                    let _ = carry(End::Port(client), server, &accepting, generation);
                }
            }
        });
        Self { port, wire }
    }

    /// The same, to this server.
    pub fn to(server: ServerAddress) -> Self {
        let network = Self::start();
        network.lead_to(server);
        network
    }

    /// From now on this is the server.
    pub fn lead_to(&self, server: ServerAddress) {
        self.change(|state| state.server = Some(server));
    }

    /// The port clients connect to, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Carries nothing from now on.
    pub fn cut(&self) {
        self.change(|state| state.is_cut = true);
    }

    /// Carries again, first what waited.
    pub fn heal(&self) {
        self.change(|state| state.is_cut = false);
    }

    /// Carries again, but has forgotten the connections there were, as a firewall does: clients find theirs broken, and the server is
    /// told nothing at all.
    pub fn heal_forgetful(&self) {
        self.change(|state| {
            state.is_cut = false;
            state.generation += 1;
            for client in state.clients.drain(..) {
                // It may have ended by itself.
                let _ = client.shutdown(Shutdown::Both);
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.wire.state());
        self.wire.changed.notify_all();
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.change(|state| state.has_ended = true);
    }
}

impl Wire {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a new connection can be made; none is made any more after the end.
    fn next_client(&self, client: &TcpStream) -> Option<(u64, ServerAddress)> {
        let waits = |state: &mut State| (state.is_cut || state.server.is_none()) && !state.has_ended;
        let mut state = self.changed.wait_while(self.state(), waits).unwrap_or_else(PoisonError::into_inner);
        if state.has_ended {
            return None;
        }
        state.clients.extend(client.try_clone());
        Some((state.generation, state.server.clone()?))
    }

    /// Waits until what was sent may arrive; whether it does.
    fn lets_through(&self, generation: u64) -> bool {
        let waits = |state: &mut State| (state.is_cut || generation < state.generation) && !state.has_ended;
        let state = self.changed.wait_while(self.state(), waits).unwrap_or_else(PoisonError::into_inner);
        !state.has_ended
    }
}

/// One end of a connection.
enum End {
    Port(TcpStream),
    Socket(UnixStream),
}

impl End {
    fn to(server: &ServerAddress) -> io::Result<Self> {
        Ok(match server {
            ServerAddress::Port(port) => Self::Port(TcpStream::connect((Ipv4Addr::LOCALHOST, *port))?),
            ServerAddress::Socket(path) => Self::Socket(UnixStream::connect(path)?),
        })
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Port(stream) => Self::Port(stream.try_clone()?),
            Self::Socket(stream) => Self::Socket(stream.try_clone()?),
        })
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Port(stream) => stream.read(buffer),
            Self::Socket(stream) => stream.read(buffer),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Port(stream) => stream.write_all(bytes),
            Self::Socket(stream) => stream.write_all(bytes),
        }
    }

    fn shut_down(&self) {
        // It may be closed already.
        let _ = match self {
            Self::Port(stream) => stream.shutdown(Shutdown::Both),
            Self::Socket(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

/// Carries bytes both ways.
fn carry(client: End, server: End, wire: &Arc<Wire>, generation: u64) -> io::Result<()> {
    let (client_too, server_too) = (client.try_clone()?, server.try_clone()?);
    for (from, to) in [(client, server), (server_too, client_too)] {
        let wire = Arc::clone(wire);
        std::thread::spawn(move || carry_one_way(from, to, &wire, generation));
    }
    Ok(())
}

fn carry_one_way(mut from: End, mut to: End, wire: &Wire, generation: u64) {
    let mut buffer = vec![0; 65_536];
    loop {
        let read = from.read(&mut buffer).unwrap_or(0);
        // The end, too, has to arrive before it is heard of.
        if !wire.lets_through(generation) || read == 0 || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    to.shut_down();
    from.shut_down();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Sends back what it hears, line by line.
    fn echo() -> ServerAddress {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        std::thread::spawn(move || {
            for mut client in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || {
                    let mut heard = [0; 1];
                    while client.read_exact(&mut heard).is_ok() && client.write_all(&heard).is_ok() {}
                });
            }
        });
        ServerAddress::Port(port)
    }

    fn client(network: &Network) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, network.port())).expect("listening")
    }

    fn answer(stream: &mut TcpStream, patience: Duration) -> io::Result<u8> {
        stream.set_read_timeout(Some(patience))?;
        let mut answer = [0; 1];
        stream.read_exact(&mut answer).map(|()| answer[0])
    }

    const LONG: Duration = Duration::from_secs(30);
    const SHORT: Duration = Duration::from_millis(50);

    fn client_that_was_answered(network: &Network) -> TcpStream {
        let mut client = client(network);
        client.write_all(b"a").expect("open");
        assert_eq!(answer(&mut client, LONG).expect("carried"), b'a');
        client
    }

    #[test]
    fn what_is_sent_into_a_cut_arrives_when_it_is_over() {
        let network = Network::to(echo());
        let mut old = client_that_was_answered(&network);
        network.cut();
        let mut new = client(&network);
        for stream in [&mut old, &mut new] {
            stream.write_all(b"b").expect("half-open");
            let kind = answer(stream, SHORT).expect_err("cut").kind();
            assert!(matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{kind}");
        }
        network.heal();
        for stream in [&mut old, &mut new] {
            assert_eq!(answer(stream, LONG).expect("carried again"), b'b');
        }
    }

    #[test]
    fn a_forgetful_network_breaks_what_there_was_and_carries_what_is_new() {
        let network = Network::to(echo());
        let mut old = client_that_was_answered(&network);
        network.cut();
        let mut new = client(&network);
        new.write_all(b"b").expect("half-open");
        network.heal_forgetful();
        assert!(answer(&mut old, LONG).is_err(), "it was broken");
        assert_eq!(answer(&mut new, LONG).expect("carried"), b'b');
    }
}
