//! Payments that come in all the while: a thread that books deposits and remembers which were acknowledged.

use super::http::Api;
use anyhow::{Result, anyhow};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The pause after each, so that calls get the machine too.
const PAUSE: Duration = Duration::from_millis(10);
const AMOUNT_MICROS: i64 = 1_000_000;

/// The thread. Stop it to learn what it saw.
pub(crate) struct Deposits {
    stopping: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    thread: JoinHandle<PaidIn>,
}

/// What the payer knows: the references sent, and those that were acknowledged with a 2xx.
#[derive(Debug, Default)]
pub(crate) struct PaidIn {
    pub(crate) sent: BTreeSet<String>,
    pub(crate) acknowledged: BTreeSet<String>,
}

impl Deposits {
    /// Pays in to these accounts, one after the other.
    pub(crate) fn start(api: Api, accounts: Vec<String>) -> Self {
        let (stopping, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stop, count) = (Arc::clone(&stopping), Arc::clone(&acknowledged));
        let thread = std::thread::spawn(move || {
            let mut paid_in = PaidIn::default();
            for number in 0_usize.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                pay(&api, &accounts[number % accounts.len()], number, &mut paid_in);
                count.store(paid_in.acknowledged.len(), Ordering::Relaxed);
                std::thread::sleep(PAUSE);
            }
            paid_in
        });
        Self { stopping, acknowledged, thread }
    }

    /// How many were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Ends the thread.
    pub(crate) fn stop(self) -> Result<PaidIn> {
        self.stopping.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the deposits' thread panicked"))
    }
}

/// One deposit. The outage of a kill shows as an error. Every other payer then sends the same reference once more, as one
/// does who has no answer; that must never book it twice.
fn pay(api: &Api, account: &str, number: usize, paid_in: &mut PaidIn) {
    let reference = format!("payment-{number}");
    let deposit = json!({ "amount_micros": AMOUNT_MICROS, "reference": reference });
    paid_in.sent.insert(reference.clone());
    let tries = 1 + number % 2;
    for _ in 0..tries {
        let answer = api.ask("POST", &format!("/v1/accounts/{account}/deposits"), Some(&deposit));
        if matches!(answer, Ok((200..300, _))) {
            paid_in.acknowledged.insert(reference);
            return;
        }
        std::thread::sleep(PAUSE);
    }
}
