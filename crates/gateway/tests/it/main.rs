//! The API over a real store and a real engine, without a socket in between.

mod house;
mod matrix;
mod accounts;
mod marketplace;
mod trading;
mod pings;
mod ringba;
mod live_bids;
mod grpc;
mod receipts;
mod calls;
mod revenue;
mod disputes;
mod reports;
mod dead_letters;
mod events_description;
mod api_keys;
mod sessions;
mod audit_entries;
mod problems;
mod every_reason;
mod observation;
