//! Bad days of the database, as `dce serve` and `dce migrate` meet them: one clear line, exit code 3, and nothing changed.

use crate::binary::{Ran, directory, run};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use test_servers::postgresql::Server;

/// What the command says, on a line of its own.
fn refusal(ran: &Ran) -> &str {
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), ""), "{ran:?}");
    let line =
        ran.stderr.strip_prefix("dce: ").and_then(|text| text.strip_suffix('\n')).expect("a line of ours");
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.contains("; "), "it names the fix: {line}");
    assert!(!line.contains("secret"), "{line}");
    line
}

/// `serve` and `migrate` on a database; both must be refused, and say the same.
fn refused_at(url: &str) -> String {
    let directory = directory();
    let url = format!("store.url={url}");
    let settings = ["--set", "store.kind=postgresql", "--set", &url];
    let quiet = [
        "--set",
        "log.level=error",
        "--set",
        "http.listen=127.0.0.1:0",
        "--set",
        "sip.listen=udp://127.0.0.1:0",
    ];
    let served = run(&directory, &[&["serve"], &settings[..], &quiet].concat());
    let migrated = run(&directory, &[&["migrate"], &settings[..]].concat());
    assert_eq!(refusal(&served), refusal(&migrated));
    refusal(&served).to_owned()
}

fn sql(server: &Server, database: &str, sql: &str) -> String {
    server.sql(database, sql).expect("sound SQL")
}

/// A database with this content, for one case.
fn database(server: &Server, name: &str, contents: &str) -> String {
    sql(server, "postgres", &format!("CREATE DATABASE {name}"));
    sql(server, name, contents);
    server.url(name)
}

/// A database that has our schema, and then was changed.
fn spoilt(server: &Server, name: &str, change: &str) -> String {
    let url = database(server, name, "SELECT 1");
    let directory = directory();
    let setting = format!("store.url={url}");
    let made = run(&directory, &["migrate", "--set", "store.kind=postgresql", "--set", &setting]);
    assert_eq!(made.code, Some(0), "{made:?}");
    sql(server, name, change);
    url
}

#[test]
fn a_postgresql_that_cannot_be_used_is_one_line() {
    let server = Server::start("-c fsync=off");
    let folder = server.folder().display().to_string();
    sql(&server, "postgres", "CREATE ROLE guest LOGIN");
    let read_only = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$";
    let ahead = "INSERT INTO dce_schema (version, checksum) SELECT max(version) + 1, 'x' FROM dce_schema";
    // The tables of the last step are there, its record is not.
    let half = "DELETE FROM dce_schema WHERE version = (SELECT max(version) FROM dce_schema)";
    let cases = [
        (
            "host=/nowhere/at/all user=dce password=secret dbname=exchange".to_owned(),
            "start the server, or correct store.url",
        ),
        (server.url("no_such_database"), "database \"no_such_database\" does not exist"),
        (
            format!("host={folder} user=nobody password=secret dbname=postgres"),
            "role \"nobody\" does not exist",
        ),
        (
            database(&server, "guests", "SELECT 1").replace("user=dce", "user=guest"),
            "permission denied for schema public",
        ),
        (
            database(&server, "theirs", "CREATE TABLE calls (x int)"),
            "table calls is there, but the exchange did not make it",
        ),
        (database(&server, "replica", read_only), "a replica, or read-only"),
        (spoilt(&server, "ahead", ahead), "but this binary knows only up to"),
        (
            spoilt(&server, "other", "UPDATE dce_schema SET checksum = 'x' WHERE version = 2"),
            "schema step 2 is not the one this binary knows",
        ),
        (spoilt(&server, "half", half), "cannot be taken, part of it is there"),
        (old_version(&server), ", but the exchange needs 15 or newer; upgrade the server"),
    ];
    for (url, expected) in cases {
        let line = refused_at(&url);
        assert!(line.contains(expected), "{url}: {line}");
        assert!(line.starts_with("PostgreSQL at "), "{line}");
    }
    assert_eq!(sql(&server, "half", "SELECT count(*) FROM calls"), "0", "left alone");
    assert_eq!(sql(&server, "guests", "SELECT count(*) FROM pg_class WHERE relname = 'dce_schema'"), "0");
}

#[test]
fn a_url_that_cannot_be_read_is_one_line() {
    let directory = directory();
    for (url, expected) in [
        ("postgresql://dce:secret@db/x?colour=red", "unknown option `colour`"),
        ("postgresql://dce:secret@db/x?sslmode=maybe", "sslmode is none of disable"),
        ("mysql://dce:secret@db/x", "invalid connection string"),
    ] {
        let setting = format!("store.url={url}");
        let ran = run(&directory, &["serve", "--set", "store.kind=postgresql", "--set", &setting]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.lines().count() == 1 && ran.stderr.contains(expected), "{ran:?}");
        assert!(!ran.stderr.contains("secret"), "{ran:?}");
    }
}

/// A way to the server that has it say of itself that it is of version 14: an old server cannot be had here.
fn old_version(server: &Server) -> String {
    let number: u64 = sql(server, "postgres", "SHOW server_version_num").parse().expect("a number");
    let text = sql(server, "postgres", "SHOW server_version");
    // The number as eight bytes; the text as long as it was, behind its length in the message.
    let version = |text: &str| -> Vec<u8> {
        let length = u32::try_from(text.len()).expect("short").to_be_bytes();
        [&length[..], text.as_bytes()].concat()
    };
    let old = format!("14{}", &text[2..]);
    let swaps = [
        (number.to_be_bytes().to_vec(), 140_009_u64.to_be_bytes().to_vec()),
        (version(&text), version(&old)),
    ];
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let socket = server.folder().join(".s.PGSQL.5432");
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (socket, swaps) = (socket.clone(), swaps.clone());
            std::thread::spawn(move || carry(client, &socket, &swaps));
        }
    });
    format!("host=127.0.0.1 port={port} user=dce dbname=postgres")
}

/// Carries one connection, with some of what the server says replaced by as many bytes.
fn carry(mut client: TcpStream, socket: &Path, swaps: &[(Vec<u8>, Vec<u8>)]) {
    let mut server = UnixStream::connect(socket).expect("the server is up");
    let (mut from_client, mut to_server) =
        (client.try_clone().expect("open"), server.try_clone().expect("open"));
    std::thread::spawn(move || {
        // However it ends, the server is told.
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let mut buffer = vec![0; 65_536];
    while let Ok(read @ 1..) = server.read(&mut buffer) {
        let mut said = buffer[..read].to_vec();
        for (from, to) in swaps {
            while let Some(place) = said.windows(from.len()).position(|bytes| bytes == from) {
                said[place..place + to.len()].copy_from_slice(to);
            }
        }
        if client.write_all(&said).is_err() {
            return;
        }
    }
}

/// `serve` and `migrate` on a directory that was made, and then spoilt by SQL.
fn spoilt_directory(spoil: &str) -> String {
    let directory = directory();
    assert_eq!(run(&directory, &["migrate"]).code, Some(0));
    let database = directory.path().join("dce-data/exchange.sqlite");
    let spoilt = rusqlite::Connection::open(&database).expect("made above");
    spoilt.execute_batch(spoil).expect("sound SQL");
    drop(spoilt);
    let before = std::fs::read(&database).expect("readable");
    let served = run(&directory, &["serve", "--set", "log.level=error"]);
    let migrated = run(&directory, &["migrate"]);
    assert_eq!(refusal(&served), refusal(&migrated));
    assert_eq!(std::fs::read(&database).expect("readable"), before, "left alone");
    refusal(&served).to_owned()
}

#[test]
fn an_sqlite_database_that_cannot_be_used_is_one_line() {
    // The tables of the last step are there, its number is not.
    let half = "PRAGMA user_version = 6";
    for (spoil, expected) in [
        ("PRAGMA user_version = 99", "schema version 99, but this binary knows only up to"),
        (half, "schema step 7 cannot be taken, part of it is there (table disputes already exists"),
        ("PRAGMA application_id = 7", "an SQLite database of another program (application id 0x00000007)"),
    ] {
        let line = spoilt_directory(spoil);
        assert!(line.starts_with("dce-data/exchange.sqlite: ") && line.contains(expected), "{spoil}: {line}");
    }
}

#[test]
fn an_sqlite_directory_that_may_not_be_written_is_one_line() {
    let directory = directory();
    std::fs::write(directory.path().join("file"), "x").expect("writable");
    let ran = run(&directory, &["migrate", "--data", "file"]);
    assert!(refusal(&ran).contains("data directory file: not a directory"), "{ran:?}");
    // Also root may not write here.
    let ran = run(&directory, &["migrate", "--data", "/proc/dce-data"]);
    assert!(refusal(&ran).starts_with("/proc/dce-data: "), "{ran:?}");
    let ran = run(&directory, &["verify", "--data", "nowhere"]);
    assert!(refusal(&ran).contains("nowhere: does not exist"), "{ran:?}");
}
