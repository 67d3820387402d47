//! A commit whose answer was lost: it is found out, and not written twice.

use crate::conformance::fold;
use crate::fixtures::{Database, account, account_id, deposit, open_account, ringing, server};
use exchange::account::AccountKind;
use exchange::ledger::money::Micros;
use infra::store::{PostgresqlUrl, Rejection, Store, StoreError, StoreOptions, UnitOfWork};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

const BUYER: u128 = 2;

/// Stands between the store and the server. When armed, it lets the next commit through and cuts the connection instead of
/// passing the answer on.
struct Between {
    folder: PathBuf,
    armed: Arc<AtomicBool>,
    cuts: Arc<AtomicU32>,
}

impl Between {
    fn start() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("dce-between-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).expect("writable");
        let listener = UnixListener::bind(folder.join(".s.PGSQL.5432")).expect("a socket");
        let between = Self { folder, armed: Arc::default(), cuts: Arc::default() };
        let (armed, cuts) = (Arc::clone(&between.armed), Arc::clone(&between.cuts));
        // Ends with the test program.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = UnixStream::connect(server().folder().join(".s.PGSQL.5432")).expect("listening");
                carry(client, server, &armed, &cuts);
            }
        });
        between
    }

    fn url(&self, database: &Database) -> PostgresqlUrl {
        let server = server().folder().display().to_string();
        let text = database.url_text().replace(&server, &self.folder.display().to_string());
        PostgresqlUrl::parse(&text).expect("a sound URL")
    }

    fn cut_the_next_commit(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    fn cuts(&self) -> u32 {
        self.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(Path::new(&self.folder));
    }
}

/// Carries bytes both ways until one side ends.
fn carry(client: UnixStream, server: UnixStream, armed: &Arc<AtomicBool>, cuts: &Arc<AtomicU32>) {
    let (mut from_client, mut to_server) =
        (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let (mut from_server, mut to_client) = (server, client);
    let (armed, cuts) = (Arc::clone(armed), Arc::clone(cuts));
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        let mut last = Vec::new();
        while let Ok(read @ 1..) = from_server.read(&mut buffer) {
            // The answer to a commit that took place; one that did not is answered ROLLBACK.
            last.extend_from_slice(&buffer[..read]);
            let is_committed = last.windows(7).any(|window| window == b"COMMIT\0");
            if is_committed && armed.swap(false, Ordering::SeqCst) {
                cuts.fetch_add(1, Ordering::SeqCst);
                break;
            }
            last.drain(..last.len().saturating_sub(6));
            if to_client.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
        let _ = from_server.shutdown(Shutdown::Both);
    });
}

fn history() -> Vec<UnitOfWork> {
    let buyer = account_id(BUYER);
    let mut units = vec![
        open_account(account(1, AccountKind::Seller)),
        open_account(account(BUYER, AccountKind::Buyer)),
        deposit(buyer, "wire-1", Micros::units(1_000)),
    ];
    units.extend((1..=4).map(|number| ringing(number, buyer)));
    units
}

#[test]
fn a_commit_whose_answer_was_lost_is_not_written_twice() {
    let (database, between) = (Database::new(), Between::start());
    let store = Store::open(between.url(&database), &StoreOptions::default()).expect("opens");
    for (place, unit) in (0..).zip(history()) {
        between.cut_the_next_commit();
        store.writer().commit(unit).expect("it was committed, and that is found out");
        assert_eq!(between.cuts(), place + 1);
    }
    assert_eq!(store.load().expect("loads"), fold(&history()));
    let report = store.reader().verify().expect("the audit runs");
    assert_eq!((report.violations, report.journal_entries), (Vec::new(), 7));
}

#[test]
fn rejections_are_remembered_over_a_lost_answer() {
    let (database, between) = (Database::new(), Between::start());
    let store = Store::open(between.url(&database), &StoreOptions::default()).expect("opens");
    for unit in history() {
        store.writer().commit(unit).expect("sound");
    }
    between.cut_the_next_commit();
    let again = store.writer().commit(deposit(account_id(BUYER), "wire-1", Micros::units(5)));
    let reason = format!("deposit:{}:wire-1", account_id(BUYER));
    let expected = Rejection::DuplicateTransfer { reason };
    assert!(matches!(again, Err(StoreError::Rejected(rejection)) if rejection == expected));
    assert_eq!(between.cuts(), 1);
    assert_eq!(store.load().expect("loads"), fold(&history()));
}
