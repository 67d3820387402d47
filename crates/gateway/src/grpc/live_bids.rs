//! `dce.v1.LiveBids`: connected bidders, over a gRPC stream.

use super::dce_v1::live_bids_server::{LiveBids, LiveBidsServer};
use super::dce_v1::{BidderMessage, ExchangeMessage};
use super::{messages, status};
use crate::access::Principal;
use crate::live_bids::{End, Heard, Line, MESSAGE_BYTES_MAX, Session, ToBidder};
use crate::problem::{Kind, Problem};
use crate::state::Gateway;
use exchange::id::AccountId;
use tokio::sync::mpsc::{self, Sender};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status, Streaming};

/// Names the buyer to bid for.
const BUYER: &str = "dce-buyer";

/// Messages on their way to one bidder, besides what HTTP/2 has in its buffers. A bidder that reads finds none waiting.
const WAITING_MAX: usize = 4;

/// The service, with its bounds.
pub(super) fn server(gateway: &Gateway) -> LiveBidsServer<Service> {
    LiveBidsServer::new(Service(gateway.clone())).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

/// Begins a session for each stream.
pub(super) struct Service(Gateway);

#[tonic::async_trait]
impl LiveBids for Service {
    type ConnectStream = ReceiverStream<Result<ExchangeMessage, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<BidderMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let session = open(&self.0, &request).await.map_err(|problem| status::of(&problem))?;
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let line = StreamLine { from_bidder: request.into_inner(), to_bidder: sender };
        // It ends with the stream, with the key, or with the server.
        tokio::spawn(session.run(line));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

async fn open(gateway: &Gateway, request: &Request<Streaming<BidderMessage>>) -> Result<Session, Problem> {
    let principal = request.extensions().get::<Principal>().copied();
    let principal = principal.ok_or_else(|| Problem::new(Kind::NotAuthenticated, "send a key"))?;
    let buyer = buyer(request.metadata())?;
    Session::open(gateway.clone(), principal, buyer, BUYER).await
}

fn buyer(metadata: &MetadataMap) -> Result<Option<AccountId>, Problem> {
    let Some(buyer) = metadata.get(BUYER) else { return Ok(None) };
    let buyer = buyer.to_str().ok().and_then(|text| text.parse().ok());
    let problem =
        || Problem::field(Kind::MalformedRequest, BUYER, "is not an id", "send the buyer's account id");
    buyer.map(Some).ok_or_else(problem)
}

/// A gRPC stream to a bidder.
struct StreamLine {
    from_bidder: Streaming<BidderMessage>,
    to_bidder: Sender<Result<ExchangeMessage, Status>>,
}

impl StreamLine {
    async fn send(&self, message: ExchangeMessage) -> Result<(), End> {
        self.to_bidder.send(Ok(message)).await.map_err(|_| End::BidderLeft)
    }
}

impl Line for StreamLine {
    async fn hear(&mut self) -> Heard {
        match self.from_bidder.message().await {
            Ok(Some(message)) => messages::read(message),
            Ok(None) => Heard::End(End::BidderLeft),
            Err(status) => Heard::End(match status.code() {
                Code::OutOfRange => End::TooLarge,
                Code::Internal => End::Unreadable,
                _ => End::BidderLeft,
            }),
        }
    }

    async fn tell(&mut self, message: ToBidder<'_>) -> Result<(), End> {
        self.send(messages::write(message)).await
    }

    async fn ask_for_life(&mut self) -> Result<(), End> {
        self.send(messages::keep_alive()).await
    }

    async fn end(self, end: End) {
        let code = match end {
            End::BidderLeft => return,
            End::NoSignOfLife => Code::DeadlineExceeded,
            End::TooSlow | End::TooManyFaults => Code::ResourceExhausted,
            End::TooLarge => Code::OutOfRange,
            End::Unreadable => Code::InvalidArgument,
            End::KeyRevoked | End::SessionOver => Code::Unauthenticated,
            End::Stopping => Code::Unavailable,
            End::Internal => Code::Internal,
        };
        // Whoever does not take it has left already.
        let _ = self.to_bidder.send(Err(Status::new(code, end.reason()))).await;
    }
}
