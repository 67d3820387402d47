//! `dce audit`: the log of a server that ran, checked in place and as an export.

use crate::binary::{directory, run};
use crate::serve::Server;
use serde_json::Value;
use std::path::PathBuf;
use tempfile::TempDir;

/// A data directory in which a key was made, and a server started and stopped.
fn lived() -> TempDir {
    let directory = directory();
    assert_eq!(run(&directory, &["key", "create", "--name", "first", "--role", "admin"]).code, Some(0));
    let (code, log) = Server::start(&directory, &[]).stop();
    assert_eq!(code, Some(0), "{log}");
    directory
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect()
}

fn write(directory: &TempDir, name: &str, text: &str) -> String {
    let path = directory.path().join(name);
    std::fs::write(&path, text).expect("writable");
    path.display().to_string()
}

/// The exchange's own key.
fn signing_key(directory: &TempDir) -> PathBuf {
    directory.path().join("dce-data").join("audit_signing.key")
}

#[test]
fn a_server_that_ran_leaves_a_log_that_is_anchored_and_sound() {
    let directory = lived();
    let exported = run(&directory, &["audit", "export"]);
    assert_eq!(exported.code, Some(0), "{exported:?}");
    let entries = lines(&exported.stdout);
    let told: Vec<_> = entries.iter().map(|entry| [&entry["action"], &entry["actor"]]).collect();
    let expected = [
        ["api_key.created", "command_line"],
        ["exchange.started", "exchange"],
        ["exchange.stopped", "exchange"],
    ];
    assert_eq!(told, expected);

    let public_key = run(&directory, &["audit", "public-key"]).stdout;
    assert_eq!(entries[1]["detail"]["public_key"], public_key.trim());
    let anchors = lines(&run(&directory, &["audit", "anchors", "--format", "json"]).stdout);
    assert_eq!((anchors.len(), &anchors[0]["seq"]), (1, &Value::from(3)));
    let verified = run(&directory, &["audit", "verify", "--format", "json"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let report = &lines(&verified.stdout)[0];
    assert_eq!((&report["findings_total"], &report["anchored_to"]), (&0.into(), &3.into()));
    let csv = run(&directory, &["audit", "export", "--from", "2", "--to", "2", "--format", "csv"]).stdout;
    assert_eq!((csv.lines().count(), csv.contains(",\"exchange.started\",")), (2, true), "{csv}");
}

#[test]
fn an_auditor_checks_an_export_elsewhere() {
    let house = lived();
    let public_key = run(&house, &["audit", "public-key"]).stdout;
    let export = run(&house, &["audit", "export"]).stdout;
    let anchors = run(&house, &["audit", "anchors", "--format", "json"]).stdout;
    let elsewhere = directory();
    let anchors = write(&elsewhere, "anchors.jsonl", &anchors);
    let verify = |text: &str, key: &str| {
        let export = write(&elsewhere, "audit.jsonl", text);
        run(&elsewhere, &["audit", "verify", "--export", &export, "--anchors", &anchors, "--public-key", key])
    };
    let sound = verify(&export, public_key.trim());
    assert_eq!(sound.code, Some(0), "{sound:?}");
    assert!(sound.stdout.contains("1 anchors vouch up to entry 3, 0 entries came after"), "{sound:?}");

    let kept: Vec<&str> = export.lines().filter(|line| !line.contains("\"seq\":2,")).collect();
    let other_key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let table = [
        (export.replace("\"first\"", "\"worst\""), public_key.trim(), "was changed"),
        (kept.join("\n"), public_key.trim(), "those between were removed"),
        (export.clone(), other_key, "not trusted"),
        ("{}\n".to_owned(), public_key.trim(), "audit.jsonl:1: cannot be read"),
    ];
    for (text, key, says) in table {
        let found = verify(&text, key);
        assert_eq!(found.code, Some(1), "{found:?}");
        assert!(format!("{}{}", found.stdout, found.stderr).contains(says), "wanted {says}: {found:?}");
    }
}

#[test]
fn another_key_or_none_is_told() {
    let directory = lived();
    std::fs::remove_file(signing_key(&directory)).expect("made at the first start");
    let found = run(&directory, &["audit", "verify"]);
    assert_eq!(found.code, Some(1), "{found:?}");
    assert!(found.stdout.contains("--public-key"), "{found:?}");
    std::fs::write(signing_key(&directory), "short").expect("writable");
    let found = run(&directory, &["audit", "public-key"]);
    assert_eq!(found.code, Some(3), "{found:?}");
    assert!(found.stderr.contains("audit.signing_key_file"), "{found:?}");
}
