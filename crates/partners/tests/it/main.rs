//! Live bidders as real HTTP servers on the loopback interface.

mod bidder;
mod asking;
mod answers;
mod bounds;
mod connections;
mod notices;
mod requests;
