//! The audit log: written with what it is about, and bent in no way that goes unnoticed.

use crate::fixtures::{Home, account, account_id, at, deposit, on_every_store, open_account, three_calls};
use exchange::account::AccountKind;
use exchange::audit::{Actor, AuditAction, AuditEntry, RoleKind};
use exchange::effect::Record;
use exchange::ledger::money::Micros;
use exchange::time::Timestamp;
use infra::audit::{Anchor, Anchorer, AuditReport, PublicKey, SealedEntry, SigningKey};
use infra::store::{ApiKey, AuditFilter, Page, Store, UnitOfWork};
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

on_every_store!(
    a_change_and_its_entry_are_written_together_or_not_at_all,
    entries_go_out_as_events_and_come_back_as_pages,
    api_keys_leave_entries,
    a_sound_log_is_anchored_and_vouched_for,
    every_bent_row_is_found,
    a_log_written_anew_is_found_by_its_anchors,
    a_log_cut_off_with_its_anchors_is_found_by_those_kept_elsewhere,
    anchors_show_transfers_that_were_changed,
);

const ADMIN: Actor = Actor::ApiKey { id: Uuid::from_u128(7), role: RoleKind::Admin };

fn key() -> SigningKey {
    SigningKey::from_text(&"1".repeat(64)).expect("64 digits")
}

fn trusted() -> [PublicKey; 1] {
    [key().public_key()]
}

/// An entry with something in every column.
fn entry(number: i64) -> AuditEntry {
    AuditEntry {
        at: at(u128::try_from(number).expect("positive")),
        actor: ADMIN,
        action: AuditAction::DepositBooked,
        subject: format!("account/{number}"),
        detail: json!({ "amount_micros": number }),
    }
}

fn audited(mut unit: UnitOfWork, number: i64) -> UnitOfWork {
    unit.records.push(Record::Audit(Box::new(entry(number))));
    unit
}

/// Ten entries, the sixth and the eighth anchored, beside a few calls.
fn log(new_home: fn() -> Home) -> Home {
    let home = new_home();
    let store = home.open();
    let commit = |unit| store.writer().commit(unit).expect("sound");
    three_calls().into_iter().for_each(commit);
    for number in 1..=10 {
        store.writer().write_audit_entry(entry(number)).expect("sound");
        if [6, 8].contains(&number) {
            anchor(&store);
        }
        if number == 7 {
            commit(deposit(account_id(2), "wire-2", Micros::units(5)));
        }
    }
    home
}

fn anchor(store: &Store) {
    let statement = store.reader().audit_statement(Timestamp(1)).expect("readable").expect("something new");
    store.writer().write_audit_anchor(key().sign(statement)).expect("sound");
}

fn verify(home: &Home, kept_elsewhere: Vec<Anchor>) -> AuditReport {
    let reader = Store::open_read_only(home.place()).expect("nobody writes");
    reader.verify_audit(kept_elsewhere, &trusted(), &mut |_| {}).expect("the check runs")
}

fn found(report: &AuditReport) -> Vec<(i64, &str)> {
    report.findings.iter().map(|finding| (finding.seq, finding.what.as_str())).collect()
}

fn entries(store: &Store) -> Vec<SealedEntry> {
    let mut entries = Vec::new();
    let take = |entry| {
        entries.push(entry);
        Ok(())
    };
    store.reader().each_audit_entry(1..=i64::MAX, take).expect("readable");
    entries
}

fn a_change_and_its_entry_are_written_together_or_not_at_all(new_home: fn() -> Home) {
    let home = new_home();
    let store = home.open();
    let commit = |unit| store.writer().commit(unit);
    commit(audited(open_account(account(2, AccountKind::Buyer)), 1)).expect("sound");
    commit(audited(deposit(account_id(2), "wire-1", Micros::units(5)), 2)).expect("sound");
    commit(audited(deposit(account_id(2), "wire-1", Micros::units(5)), 3)).expect_err("booked already");
    drop(store);

    // The next writer goes on where the last one stopped.
    let store = home.open();
    store.writer().commit(audited(open_account(account(3, AccountKind::Buyer)), 4)).expect("sound");
    let subjects: Vec<_> = entries(&store).into_iter().map(|entry| (entry.seq, entry.subject)).collect();
    let expected = [(1, "account/1"), (2, "account/2"), (3, "account/4")];
    assert_eq!(subjects, expected.map(|(seq, subject)| (seq, subject.to_owned())));
    drop(store);
    assert_eq!(found(&verify(&home, vec![])), []);
}

fn entries_go_out_as_events_and_come_back_as_pages(new_home: fn() -> Home) {
    let home = log(new_home);
    let store = home.open();
    let written = entries(&store);
    let events = store.reader().events_after(0, 200).expect("readable");
    let sent: Vec<SealedEntry> = events
        .iter()
        .filter(|event| event.kind == "audit.recorded")
        .map(|event| serde_json::from_value(event.data.clone()).expect("a whole entry"))
        .collect();
    assert_eq!(sent, written);
    assert!(sent.iter().all(|entry| entry.content_hash() == entry.hash));
    let anchors = store.reader().audit_anchors().expect("readable");
    let sent: Vec<Anchor> = events
        .iter()
        .filter(|event| event.kind == "audit.anchored" && event.subject == "audit")
        .map(|event| serde_json::from_value(event.data.clone()).expect("a whole anchor"))
        .collect();
    assert_eq!((sent.len(), sent), (2, anchors));

    let first = store.reader().audit_entries(&AuditFilter::default(), &Page::first(4)).expect("readable");
    assert_eq!(first.items.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [10, 9, 8, 7]);
    let next = Page { after: first.next, limit: 4 };
    let next = store.reader().audit_entries(&AuditFilter::default(), &next).expect("readable");
    assert_eq!(next.items[0], written[5]);
    let of_one = AuditFilter { subject: Some("account/3".to_owned()) };
    let of_one = store.reader().audit_entries(&of_one, &Page::default()).expect("readable");
    assert_eq!(of_one.items, [written[2].clone()]);
}

fn api_keys_leave_entries(new_home: fn() -> Home) {
    let home = new_home();
    let store = home.open();
    let key = ApiKey {
        id: Uuid::from_u128(9),
        name: "a key".to_owned(),
        role: "buyer".to_owned(),
        account: Some(account_id(2)),
        created_at: at(5),
        revoked_at: None,
        session: None,
    };
    store.writer().insert_api_key(key.clone(), [1; 32], Actor::CommandLine).expect("new");
    let twin = ApiKey { id: Uuid::from_u128(10), ..key.clone() };
    store
        .writer()
        .insert_api_key(twin, [1; 32], Actor::CommandLine)
        .expect_err("a secret belongs to one key");
    store.writer().revoke_api_key(key.clone(), at(4), ADMIN).expect("there");
    let [made, revoked] = entries(&store).try_into().expect("two");
    assert_eq!((made.actor.as_str(), made.action.as_str()), ("command_line", "api_key.created"));
    assert_eq!(made.detail, format!(r#"{{"account":"{}","name":"a key","role":"buyer"}}"#, account_id(2)));
    assert_eq!((revoked.role.as_deref(), revoked.action.as_str()), (Some("admin"), "api_key.revoked"));
    assert_eq!((revoked.subject, revoked.api_key), (made.subject, Some(Uuid::from_u128(7).to_string())));
    assert_eq!(revoked.at, at(5), "no entry is dated before the one before it");
}

fn a_sound_log_is_anchored_and_vouched_for(new_home: fn() -> Home) {
    let home = log(new_home);
    let expected = AuditReport {
        entries: 10,
        first: 1,
        last: 10,
        anchors: 2,
        anchored_to: 8,
        balances_checked: 2,
        ..AuditReport::default()
    };
    assert_eq!(verify(&home, vec![]), expected);
    let store = home.open();
    // An hour is never over; the stop anchors what is new, once.
    for _ in 0..2 {
        let hour = Duration::from_hours(1);
        drop(Anchorer::start(key(), hour, store.reader(), store.writer()).expect("a thread"));
    }
    drop(store);
    let expected = AuditReport { anchors: 3, anchored_to: 10, balances_checked: 3, ..expected };
    assert_eq!(verify(&home, vec![]), expected);
}

fn every_bent_row_is_found(new_home: fn() -> Home) {
    let table = [
        ("UPDATE audit_entries SET at = at + 1 WHERE seq = 3", 3, "was changed"),
        ("UPDATE audit_entries SET actor = 'exchange' WHERE seq = 3", 3, "was changed"),
        ("UPDATE audit_entries SET api_key = NULL WHERE seq = 3", 3, "was changed"),
        ("UPDATE audit_entries SET role = 'buyer' WHERE seq = 3", 3, "was changed"),
        ("UPDATE audit_entries SET action = 'deposit.bookea' WHERE seq = 3", 3, "was changed"),
        ("UPDATE audit_entries SET subject = 'account/4' WHERE seq = 3", 3, "was changed"),
        ("UPDATE audit_entries SET detail = '{\"amount_micros\":4}' WHERE seq = 3", 3, "was changed"),
        ("UPDATE audit_entries SET detail = detail || ' ' WHERE seq = 3", 3, "was changed"),
        ("UPDATE audit_entries SET previous_hash = hash WHERE seq = 3", 3, "does not follow entry 2"),
        ("UPDATE audit_entries SET previous_hash = hash WHERE seq = 1", 1, "was changed"),
        ("UPDATE audit_entries SET hash = previous_hash WHERE seq = 3", 4, "does not follow entry 3"),
        ("UPDATE audit_entries SET hash = previous_hash WHERE seq = 10", 10, "is not the entry that the writer"),
        ("UPDATE audit_entries SET seq = 11 WHERE seq = 3", 4, "follows entry 2"),
        ("DELETE FROM audit_entries WHERE seq = 1", 2, "is the first, but 1 should be"),
        ("DELETE FROM audit_entries WHERE seq = 3", 4, "follows entry 2: those between were removed"),
        ("DELETE FROM audit_entries WHERE seq = 10", 10, "is the last, says the writer's own note"),
        ("DELETE FROM audit_entries WHERE seq > 7", 8, "was the last"),
        ("UPDATE audit_entries SET seq = CASE seq WHEN 3 THEN 40 ELSE 3 END WHERE seq IN (3, 4)", 3, "was changed"),
        (
            "INSERT INTO audit_entries SELECT 11, at, actor, api_key, role, action, subject, detail, hash, hash
             FROM audit_entries WHERE seq = 10",
            11,
            "was changed",
        ),
        ("UPDATE audit_head SET seq = 9", 9, "is the last, says the writer's own note"),
        (
            "UPDATE audit_anchors SET document = replace(CAST(document AS text), '\"transfers\":', '\"transfers\":1')
             WHERE seq = 6",
            6,
            "the anchor of",
        ),
        ("UPDATE audit_anchors SET document = '{}' WHERE seq = 6", 6, "its anchor was changed"),
        ("UPDATE audit_anchors SET seq = 5 WHERE seq = 6", 5, "its anchor was changed"),
        ("UPDATE identity SET store_id = previous_hash FROM (SELECT substr(previous_hash, 1, 8) AS previous_hash FROM audit_entries WHERE seq = 3) AS other", 6, "the anchor of"),
    ];
    for (sql, seq, what) in table {
        let home = log(new_home);
        // PostgreSQL takes a text for JSON only when told so.
        let on_postgresql = matches!(home, Home::Postgresql(_)) && sql.contains("replace(");
        let sql = if on_postgresql {
            sql.replace("= replace(", "= (replace(").replace(":1')", ":1'))::json")
        } else {
            sql.to_owned()
        };
        home.cook(&sql);
        let report = verify(&home, vec![]);
        let is_found = found(&report).iter().any(|(at, found)| *at == seq && found.starts_with(what));
        assert!(is_found, "{sql}\nwanted {seq} {what}\nfound {:#?}", report.findings);
        assert_eq!(report.findings_total, report.findings.len() as u64);
    }
}

/// Writes the log anew from entry `first` on: as the writer would, with another subject in its first entry.
fn write_anew(home: &Home, first: i64) {
    let mut log = entries(&home.open());
    let mut previous = None;
    for entry in log.iter_mut().filter(|entry| entry.seq >= first) {
        if entry.seq == first {
            "account/nobody".clone_into(&mut entry.subject);
        }
        entry.previous_hash = previous.unwrap_or(entry.previous_hash);
        entry.hash = entry.content_hash();
        previous = Some(entry.hash);
        let blob = |hash: infra::audit::Hash| match home {
            Home::Sqlite(_) => format!("x'{hash}'"),
            Home::Postgresql(_) => format!("decode('{hash}', 'hex')"),
        };
        let (hash, before) = (blob(entry.hash), blob(entry.previous_hash));
        home.cook(&format!(
            "UPDATE audit_entries SET subject = '{}', hash = {hash}, previous_hash = {before} WHERE seq = {}",
            entry.subject, entry.seq
        ));
        home.cook(&format!("UPDATE audit_head SET hash = {hash}"));
    }
}

fn a_log_written_anew_is_found_by_its_anchors(new_home: fn() -> Home) {
    let home = log(new_home);
    write_anew(&home, 7);
    let report = verify(&home, vec![]);
    assert_eq!(report.findings_total, 1, "{report:#?}");
    assert!(report.findings[0].what.starts_with("is not the entry that was anchored"), "{report:#?}");
    assert_eq!((report.findings[0].seq, report.anchored_to), (8, 6));

    // What no anchor has seen yet can be written anew by whoever writes to the database.
    let home = log(new_home);
    write_anew(&home, 9);
    assert_eq!(found(&verify(&home, vec![])), []);
}

fn a_log_cut_off_with_its_anchors_is_found_by_those_kept_elsewhere(new_home: fn() -> Home) {
    let home = log(new_home);
    let kept = home.open().reader().audit_anchors().expect("readable");
    home.cook("DELETE FROM audit_entries WHERE seq > 7");
    home.cook("DELETE FROM audit_anchors WHERE seq > 7");
    home.cook(
        "UPDATE audit_head SET seq = 7, hash = last.hash
         FROM (SELECT hash FROM audit_entries WHERE seq = 7) AS last",
    );
    assert_eq!(found(&verify(&home, vec![])), []);
    let report = verify(&home, kept);
    let [(8, what)] = found(&report)[..] else { panic!("{report:#?}") };
    assert!(what.ends_with("the log ends with 7: its end was cut off"), "{what}");
}

fn anchors_show_transfers_that_were_changed(new_home: fn() -> Home) {
    let table = [
        (
            "UPDATE transfers SET amount_micros = amount_micros + 1 WHERE reason LIKE 'deposit:%wire-2'",
            vec![8],
        ),
        (
            "UPDATE transfers SET amount_micros = amount_micros + 1 WHERE reason LIKE 'deposit:%wire-1'",
            vec![6, 8],
        ),
        ("DELETE FROM transfers WHERE reason LIKE 'deposit:%wire-2'", vec![8]),
    ];
    for (sql, anchors) in table {
        let home = log(new_home);
        home.cook(sql);
        let report = verify(&home, vec![]);
        let about: Vec<i64> = found(&report).into_iter().map(|(seq, _)| seq).collect();
        assert_eq!(about, anchors, "{sql}: {report:#?}");
    }
}
