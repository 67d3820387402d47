//! A running exchange with an API in front: the test plays clients and telephony.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use engine::{Engine, EngineConfig, EngineThread, LiveBidders};
use exchange::audit::Actor;
use exchange::effect::Action;
use exchange::id::{AccountId, CallId};
use exchange::policy::Policy;
use exchange::time::Timestamp;
use gateway::{ApiKeyText, Dependencies, HttpConfig, HttpServer};
use http_body_util::BodyExt;
use infra::bus::consumer::start_roll_ups;
use infra::coordination::Coordination;
use infra::store::{ApiKey, DeadLetter, Effect, OutboxEvent, Store, StoreOptions, VerifyReport};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tower::ServiceExt;
use uuid::Uuid;

pub(crate) const BUYER: AccountId = AccountId(Uuid::from_u128(0xb1));
pub(crate) const OTHER_BUYER: AccountId = AccountId(Uuid::from_u128(0xb2));
pub(crate) const SELLER: AccountId = AccountId(Uuid::from_u128(0x51));
pub(crate) const OTHER_SELLER: AccountId = AccountId(Uuid::from_u128(0x52));
pub(crate) const NUMBER: &str = "+18005550100";

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Nobody,
    Admin,
    Analyst,
    Buyer,
    OtherBuyer,
    Seller,
    OtherSeller,
}

impl Who {
    pub(crate) const ALL: [Self; 7] = [
        Self::Nobody,
        Self::Admin,
        Self::Analyst,
        Self::Buyer,
        Self::OtherBuyer,
        Self::Seller,
        Self::OtherSeller,
    ];

    fn role(self) -> Option<(&'static str, Option<AccountId>)> {
        match self {
            Self::Nobody => None,
            Self::Admin => Some(("admin", None)),
            Self::Analyst => Some(("analyst", None)),
            Self::Buyer => Some(("buyer", Some(BUYER))),
            Self::OtherBuyer => Some(("buyer", Some(OTHER_BUYER))),
            Self::Seller => Some(("seller", Some(SELLER))),
            Self::OtherSeller => Some(("seller", Some(OTHER_SELLER))),
        }
    }
}

pub(crate) struct House {
    pub(crate) engine: Engine,
    pub(crate) actions: UnboundedReceiver<(CallId, Action)>,
    router: Router,
    keys: Vec<(Who, ApiKeyText)>,
    // Stops when the handle is dropped with the store; kept so that it is.
    _thread: EngineThread,
    store: Store,
    _directory: TempDir,
}

impl House {
    pub(crate) fn open() -> Self {
        Self::with(&HttpConfig::default())
    }

    pub(crate) fn with(config: &HttpConfig) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(directory.path(), &StoreOptions::default()).expect("a store");
        let (out, actions) = unbounded_channel();
        let (engine, thread) =
            engine::start(&store, &EngineConfig::default(), Policy::default(), LiveBidders::default(), out)
                .expect("an engine");
        let keys =
            Who::ALL.into_iter().filter_map(|who| Some((who, insert_key(&store, who.role()?)))).collect();
        let router = gateway::router(config, dependencies(&engine, &store));
        Self { engine, actions, router, keys, _thread: thread, store, _directory: directory }
    }

    /// The same API once more, with a socket, for what cannot be had without one.
    pub(crate) async fn serve(&self, config: &HttpConfig) -> HttpServer {
        let config = HttpConfig { listen: vec!["127.0.0.1:0".to_owned()], ..config.clone() };
        gateway::start(&config, dependencies(&self.engine, &self.store)).await.expect("a free port")
    }

    /// With two buyers, two sellers, a number and money.
    pub(crate) async fn furnished() -> Self {
        let house = Self::open();
        house.furnish().await;
        house
    }

    pub(crate) async fn furnish(&self) {
        for (id, kind, name) in [
            (BUYER, "buyer", "Acme Roofing"),
            (OTHER_BUYER, "buyer", "Best Roofs"),
            (SELLER, "seller", "Calls R Us"),
            (OTHER_SELLER, "seller", "Leads Ltd"),
        ] {
            let account = json!({ "id": id, "kind": kind, "name": name, "status": "active" });
            self.ask(Who::Admin, "POST", "/v1/accounts", account).await.expect(201);
        }
        for buyer in [BUYER, OTHER_BUYER] {
            let deposit = json!({ "amount_micros": 500_000_000, "reference": "wire 1" });
            self.ask(Who::Admin, "POST", &format!("/v1/accounts/{buyer}/deposits"), deposit)
                .await
                .expect(200);
        }
        let path = format!("/v1/tracking-numbers/{NUMBER}");
        self.ask(Who::Admin, "PUT", &path, tracking_number(NUMBER, SELLER)).await.expect(200);
    }

    pub(crate) fn key(&self, who: Who) -> Option<String> {
        self.keys.iter().find(|(owner, _)| *owner == who).map(|(_, key)| key.to_string())
    }

    pub(crate) async fn get(&self, who: Who, path: &str) -> Answer {
        self.ask(who, "GET", path, Value::Null).await
    }

    /// Sends JSON; null is no body at all.
    pub(crate) async fn ask(&self, who: Who, method: &str, path: &str, body: Value) -> Answer {
        self.ask_with(self.key(who).as_deref(), method, path, body).await
    }

    /// The same with any key.
    pub(crate) async fn ask_with(&self, key: Option<&str>, method: &str, path: &str, body: Value) -> Answer {
        let mut request = Request::builder().method(Method::try_from(method).expect("a method")).uri(path);
        if let Some(key) = key {
            request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        }
        let body = match body {
            Value::Null => Body::empty(),
            body => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
        };
        self.send(request.body(body).expect("a request")).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let json = serde_json::from_str(&text).unwrap_or_default();
        Answer { status: head.status, headers: head.headers, text, json }
    }

    /// Makes the roll-ups, until they have everything.
    pub(crate) fn roll_up(&self) {
        let reader = self.store.reader();
        let _runner = start_roll_ups(reader.clone(), self.store.writer()).expect("a thread");
        let until = std::time::Instant::now() + std::time::Duration::from_secs(40);
        while reader.roll_ups_are_behind().expect("readable") {
            assert!(std::time::Instant::now() < until, "the roll-ups are behind");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// What happened as a consumer refused an event.
    pub(crate) fn put_aside(&self, letter: DeadLetter) {
        let letters = vec![letter];
        self.store.writer().write_effect(Effect { letters, ..Effect::default() }).expect("written");
    }

    /// The events so far.
    pub(crate) fn events(&self) -> Vec<OutboxEvent> {
        self.store.reader().events_after(0, 200).expect("readable")
    }

    /// An audit of the books.
    pub(crate) fn verify(&self) -> VerifyReport {
        self.store.reader().verify().expect("the audit runs")
    }

    /// The next action that telephony is asked for.
    pub(crate) async fn next_action(&mut self) -> Action {
        self.actions.recv().await.expect("the engine runs").1
    }
}

fn dependencies(engine: &Engine, store: &Store) -> Dependencies {
    Dependencies {
        engine: engine.clone(),
        reader: store.reader(),
        coordination: Coordination::in_memory(),
        metrics: PrometheusBuilder::new().build_recorder().handle(),
        probes: Vec::new(),
    }
}

fn insert_key(store: &Store, (role, account): (&str, Option<AccountId>)) -> ApiKeyText {
    let text = ApiKeyText::mint().expect("randomness");
    let key = ApiKey {
        id: text.id,
        name: role.to_owned(),
        role: role.to_owned(),
        account,
        created_at: Timestamp(1),
        revoked_at: None,
        session: None,
    };
    store.writer().insert_api_key(key, text.secret_hash(), Actor::CommandLine).expect("written");
    text
}

pub(crate) fn tracking_number(number: &str, seller: AccountId) -> Value {
    json!({
        "number": number,
        "seller": seller,
        "vertical": "roofing",
        "origin": "organic_inbound",
        "floor_micros": 5_000_000,
        "payout_basis_points": 7_000,
        "active": true,
    })
}

/// A bid for roofing calls, `price` units for each, without an id.
pub(crate) fn bid(buyer: AccountId, price: i64) -> Value {
    json!({
        "buyer": buyer,
        "name": "roofs",
        "status": "active",
        "price": { "type": "per_call", "amount_micros": price * 1_000_000 },
        "conversion": { "min_connected_s": 0 },
        "vertical": "roofing",
        "destination": { "sip_uris": ["sip:roofs@127.0.0.1:5090"] },
    })
}

/// What the API answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) json: Value,
}

impl Answer {
    /// The answer, which has this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The fields a problem names.
    pub(crate) fn fields(&self) -> Vec<&str> {
        let errors = self.json["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        errors.iter().filter_map(|error| error["field"].as_str()).collect()
    }

    /// The ids in a listing.
    pub(crate) fn ids(&self, field: &str) -> Vec<&str> {
        let items = self.json["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().filter_map(|item| item[field].as_str()).collect()
    }
}
