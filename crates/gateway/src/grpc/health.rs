//! `grpc.health.v1`: what `/health/ready` says, for gRPC's own health checks.

use crate::rest::is_ready;
use crate::state::Gateway;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_server};

/// The services that can be asked for; the empty name is all of them.
const SERVICES: [&str; 2] = ["", "dce.v1.LiveBids"];

/// The health of the exchange.
pub(super) struct Health(pub(super) Gateway);

#[tonic::async_trait]
impl health_server::Health for Health {
    type WatchStream = BoxStream<HealthCheckResponse>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !SERVICES.contains(&service.as_str()) {
            return Err(Status::not_found("no such service; ask for dce.v1.LiveBids, or for none"));
        }
        let status = if is_ready(&self.0) { ServingStatus::Serving } else { ServingStatus::NotServing };
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }

    /// The protocol lets a server leave this out. Without a key, a stream that is kept open is too much to give.
    async fn watch(
        &self,
        _request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("ask with Check from time to time"))
    }
}
