//! `dce key` and `dce verify`, on a data directory without a server.

use crate::binary::{Ran, dce, directory, run};
use std::process::Stdio;

#[test]
fn a_key_is_made_listed_and_revoked() {
    let directory = directory();
    let made = run(&directory, &["key", "create", "--name", "first", "--role", "admin"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let text = made.stdout.trim();
    let secret = text.rsplit('_').next().expect("three parts");

    let listed = run(&directory, &["key", "list"]).stdout;
    assert!(listed.contains("first") && listed.contains("admin"), "{listed}");
    assert!(!listed.contains(secret), "the secret is shown once only");
    let keys: serde_json::Value =
        serde_json::from_str(&run(&directory, &["key", "list", "--format", "json"]).stdout).expect("JSON");
    let id = keys["keys"][0]["id"].as_str().expect("an id");
    assert_eq!(id.replace('-', ""), text.split('_').nth(1).expect("three parts"));

    assert_eq!(run(&directory, &["key", "revoke", id]).code, Some(0));
    let keys = run(&directory, &["key", "list", "--format", "json"]).stdout;
    let keys: serde_json::Value = serde_json::from_str(&keys).expect("JSON");
    assert!(keys["keys"][0]["revoked_at"].is_i64(), "{keys}");
}

#[test]
fn a_key_that_cannot_be_printed_is_not_made() {
    let directory = directory();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let (reader, gone) = std::io::pipe().expect("a pipe");
    drop(reader);
    for stdout in [Stdio::from(full), Stdio::from(gone)] {
        let mut command = dce(&directory, &["key", "create", "--name", "lost", "--role", "admin"]);
        let ran = Ran::from(command.stdout(stdout).stderr(Stdio::piped()).output().expect("the binary runs"));
        assert_eq!(ran.code, Some(3), "{ran:?}");
        assert!(ran.stderr.starts_with("dce: stdout: "), "{}", ran.stderr);
    }
    let keys = run(&directory, &["key", "list", "--format", "json"]).stdout;
    assert_eq!(keys.trim(), r#"{"keys":[]}"#);
}

#[test]
fn wrong_keys_are_refused_in_one_line_that_names_the_fix() {
    let directory = directory();
    let nobody = "00000000-0000-0000-0000-000000000001";
    let cases: [(&[&str], &str); 6] = [
        (&["create", "--name", "", "--role", "admin"], "--name: empty"),
        (&["create", "--name", "x", "--role", "buyer"], "--account: missing for role buyer"),
        (&["create", "--name", "x", "--role", "admin", "--account", nobody], "--account: set for role admin"),
        (&["create", "--name", "x", "--role", "buyer", "--account", "me"], "--account: "),
        (
            &["create", "--name", "x", "--role", "seller", "--account", nobody],
            "--account: there is no account",
        ),
        (&["revoke", nobody], "there is no key"),
    ];
    for (arguments, says) in cases {
        let ran = run(&directory, &[&["key"], arguments].concat());
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.starts_with(&format!("dce: {says}")), "{}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    }
}

#[test]
fn the_books_of_a_new_directory_are_in_order() {
    let directory = directory();
    run(&directory, &["key", "create", "--name", "first", "--role", "admin"]);
    let verified = run(&directory, &["verify", "--format", "json"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let report: serde_json::Value = serde_json::from_str(&verified.stdout).expect("JSON");
    assert_eq!((&report["violations"], &report["ledger_sum_micros"]), (&0.into(), &0.into()));
}

#[test]
fn a_missing_or_damaged_directory_is_the_surroundings_fault() {
    let directory = directory();
    std::fs::create_dir(directory.path().join("damaged")).expect("writable");
    std::fs::write(directory.path().join("damaged/exchange.sqlite"), "not a database").expect("writable");
    for data in ["missing", "damaged"] {
        let verified = run(&directory, &["verify", "--data", data]);
        assert_eq!(verified.code, Some(3), "{verified:?}");
        assert_eq!(verified.stderr.lines().count(), 1, "{}", verified.stderr);
        assert!(verified.stderr.contains(data), "{}", verified.stderr);
    }
}
