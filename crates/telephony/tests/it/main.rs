//! The SIP side as its peers see it.

mod world;
mod admission;
mod recovery;
mod ringing;
mod ending;
mod dialogs;
mod session_timers;
mod loss;
mod torture;
mod fuzz;
mod server;
