//! Routes as data: method, path, who may call it, and the handler. There is no way to add one without a policy.

use crate::access::{Policy, guard};
use crate::state::Gateway;
use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{MethodFilter, MethodRouter, on, post_service};
use std::convert::Infallible;
use tower_service::Service;

/// One operation of the API.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) policy: Policy,
    handler: MethodRouter<Gateway>,
}

macro_rules! verb {
    ($name:ident, $method:ident) => {
        #[doc = concat!("A ", stringify!($method), " route.")]
        pub(crate) fn $name<H: Handler<T, Gateway>, T: 'static>(
            path: &'static str,
            policy: Policy,
            handler: H,
        ) -> Route {
            Route { method: Method::$method, path, policy, handler: on(MethodFilter::$method, handler) }
        }
    };
}

verb!(get, GET);
verb!(post, POST);
verb!(put, PUT);
verb!(patch, PATCH);
verb!(delete, DELETE);

/// A service of gRPC's, whose methods are all POST.
pub(crate) fn service<S>(path: &'static str, policy: Policy, service: S) -> Route
where
    S: Service<Request, Error = Infallible, Response: IntoResponse, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    Route { method: Method::POST, path, policy, handler: post_service(service) }
}

/// The routes, each behind its guard.
pub(crate) fn router(gateway: &Gateway, routes: Vec<Route>) -> Router<Gateway> {
    routes.into_iter().fold(Router::new(), |router, Route { path, policy, handler, .. }| {
        let guard = from_fn_with_state((gateway.clone(), policy), guard);
        router.route(path, handler.route_layer(guard))
    })
}
