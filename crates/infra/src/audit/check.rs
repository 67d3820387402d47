//! The check: entries in the order of their numbers, one after the other, against their hashes and against anchors.

use super::anchor::{Anchor, PublicKey};
use super::chain::{Head, SealedEntry};
use super::hash::Hash;
use exchange::time::Timestamp;
use std::collections::BTreeMap;

/// Findings kept in a report; more are only counted.
const FINDINGS_MAX: usize = 1_000;

/// Where the entries begin that are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    /// With the first one ever, or with the one that follows those that were detached (0: none).
    After(i64),
    /// Anywhere: an export can be of a part.
    Anywhere,
}

/// Where they end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// Where the store says the chain ends.
    At(Head),
    /// Anywhere: an export can be of a part.
    Anywhere,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// The number of the entry it is about, or of the entry that an anchor is about.
    pub seq: i64,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub fix: &'static str,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct AuditReport {
    /// What is wrong; the first thousand.
    pub findings: Vec<Finding>,
    /// How many findings there are, kept or not.
    pub findings_total: u64,
    /// Entries looked at.
    pub entries: u64,
    /// The first entry's number; 0 when there is none.
    pub first: i64,
    /// The last entry's number; 0 when there is none.
    pub last: i64,
    /// Anchors of these entries, signed by a trusted key.
    pub anchors: u64,
    /// Anchors of entries that are not among these: detached before them, or behind an export's end.
    pub anchors_elsewhere: u64,
    /// Up to this entry an anchor vouches; what follows could have been written anew by whoever writes to the database.
    pub anchored_to: i64,
    /// Anchors whose ledger balances were computed again from the transfers.
    pub balances_checked: u64,
}

const RESTORE: &str =
    "keep the database as it is, compare with an export or the topic of audit events, and restore a backup";
const FOREIGN_KEY: &str =
    "if the key is yours, name it as well with --public-key; if not, somebody else signed";
const ANOTHER_STORE: &str = "give the anchors of this exchange";

/// A check under way.
#[derive(Debug)]
pub struct Check {
    report: AuditReport,
    begins: Begins,
    previous: Option<(i64, Hash)>,
    /// Good ones that no entry has met yet.
    anchors: BTreeMap<i64, Vec<Anchor>>,
}

impl AuditReport {
    /// Adds a finding about an entry whose only remedy is a copy.
    pub(crate) fn find(&mut self, seq: i64, what: String) {
        self.add(seq, what, RESTORE);
    }

    fn add(&mut self, seq: i64, what: String, fix: &'static str) {
        self.findings_total += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { seq, what, fix });
        }
    }
}

impl Check {
    /// Begins with the anchors: those that are not signed by one of the `trusted` keys, or are another store's, are findings and
    /// vouch for nothing. `store` is not known of an export.
    pub fn new(anchors: Vec<Anchor>, trusted: &[PublicKey], store: Option<&str>, begins: Begins) -> Self {
        let mut check =
            Self { report: AuditReport::default(), begins, previous: None, anchors: BTreeMap::new() };
        for anchor in anchors {
            check.take_anchor(anchor, trusted, store);
        }
        check
    }

    fn take_anchor(&mut self, anchor: Anchor, trusted: &[PublicKey], store: Option<&str>) {
        let (seq, key) = (anchor.statement.seq, anchor.public_key);
        let when = moment(anchor.statement.at);
        if !anchor.is_signed() {
            let what = format!("the anchor of {when} was changed: its signature is of something else");
            return self.report.find(seq, what);
        }
        if !trusted.contains(&key) {
            let what = format!("the anchor of {when} is signed by {key}, which is not trusted");
            return self.report.add(seq, what, FOREIGN_KEY);
        }
        if let Some(store) = store.filter(|store| *store != anchor.statement.store) {
            let what =
                format!("the anchor of {when} is of store {}, and this is {store}", anchor.statement.store);
            return self.report.add(seq, what, ANOTHER_STORE);
        }
        let same = self.anchors.entry(seq).or_default();
        if !same.contains(&anchor) {
            same.push(anchor);
        }
    }

    /// The good anchors, in the order of their entries.
    pub(crate) fn anchors(&self) -> impl Iterator<Item = &Anchor> {
        self.anchors.values().flatten()
    }

    /// Looks at the next entry.
    pub fn entry(&mut self, entry: &SealedEntry) {
        self.report.entries += 1;
        self.place(entry);
        let content = entry.content_hash();
        if content != entry.hash {
            self.report.find(entry.seq, "was changed: its hash is of something else".to_owned());
        }
        for anchor in self.anchors.remove(&entry.seq).unwrap_or_default() {
            if anchor.statement.hash == content && content == entry.hash {
                self.report.anchors += 1;
                self.report.anchored_to = entry.seq;
            } else {
                let when = moment(anchor.statement.at);
                let what = format!(
                    "is not the entry that was anchored on {when}: it, or one before it, was written anew"
                );
                self.report.find(entry.seq, what);
            }
        }
        self.previous = Some((entry.seq, entry.hash));
        self.report.last = entry.seq;
    }

    /// Whether the entry follows the one before it.
    fn place(&mut self, entry: &SealedEntry) {
        let SealedEntry { seq, previous_hash, .. } = *entry;
        let Some((before, hash)) = self.previous else { return self.first(entry) };
        if seq <= before {
            self.report.find(seq, format!("comes after entry {before}: out of order, or twice"));
        } else if seq > before + 1 {
            let what = format!("follows entry {before}: those between were removed");
            self.report.find(seq, what);
        } else if previous_hash != hash {
            let what = format!(
                "does not follow entry {before} as it is now: one of the two was changed, moved or inserted"
            );
            self.report.find(seq, what);
        }
    }

    fn first(&mut self, entry: &SealedEntry) {
        let SealedEntry { seq, previous_hash, .. } = *entry;
        self.report.first = seq;
        let Begins::After(gone) = self.begins else { return };
        if seq != gone + 1 {
            let what = format!("is the first, but {} should be: what was before it was removed", gone + 1);
            self.report.find(seq, what);
        } else if gone == 0 && previous_hash != Hash::default() {
            self.report.find(seq, "was changed: the first entry has none before it".to_owned());
        }
        let anchor = self.anchors.get(&gone).and_then(|anchors| anchors.first());
        if anchor.is_some_and(|anchor| gone > 0 && anchor.statement.hash != previous_hash) {
            let what = format!("does not follow entry {gone} as it was anchored");
            self.report.find(seq, what);
        }
    }

    /// There are no more entries.
    pub fn finish(mut self, ends: Ends) -> AuditReport {
        let gone = if let Begins::After(gone) = self.begins { gone } else { 0 };
        let last = self.report.last.max(gone);
        let first = if self.report.entries > 0 { self.report.first } else { last + 1 };
        let later = self.anchors.split_off(&(last + 1));
        let inside = self.anchors.split_off(&first);
        let count = |anchors: &BTreeMap<i64, Vec<Anchor>>| anchors.values().flatten().count() as u64;
        self.report.anchors_elsewhere = count(&self.anchors);
        match ends {
            Ends::Anywhere => self.report.anchors_elsewhere += count(&later),
            Ends::At(head) => {
                if let Some(anchor) = later.values().flatten().last() {
                    let (seq, when) = (anchor.statement.seq, moment(anchor.statement.at));
                    let what = format!(
                        "was the last on {when}, says an anchor, but the log ends with {last}: its end was cut off"
                    );
                    self.report.find(seq, what);
                }
                self.compare_head(head);
            }
        }
        for seq in inside.into_keys() {
            self.report.find(seq, "was anchored, but is not there".to_owned());
        }
        self.report
    }

    fn compare_head(&mut self, head: Head) {
        let gone = if let Begins::After(gone) = self.begins { gone } else { 0 };
        let (last, hash) = self.previous.unwrap_or((gone, head.hash));
        if last != head.seq {
            let what = format!(
                "is the last, says the writer's own note, but the log ends with {last}: its end was cut off or added to"
            );
            self.report.find(head.seq, what);
        } else if hash != head.hash {
            self.report.find(last, "is not the entry that the writer noted as the last".to_owned());
        }
        if gone > 0 && self.report.anchored_to == 0 && self.report.entries > 0 {
            let what = format!("follows {gone} detached entries, but no anchor vouches for it yet");
            self.report.add(
                self.report.first,
                what,
                "check again after the next anchor, or give one with --anchors",
            );
        }
    }
}

fn moment(at: Timestamp) -> String {
    at.to_jiff().to_string()
}

#[cfg(test)]
mod tests {
    use super::super::anchor::{SigningKey, Statement};
    use super::*;
    use exchange::audit::{Actor, AuditAction, AuditEntry};
    use serde_json::json;

    const STORE: &str = "00112233aabbccdd";

    fn key(digit: &str) -> SigningKey {
        SigningKey::from_text(&digit.repeat(64)).expect("64 digits")
    }

    /// Six entries, and what the writer knows after them.
    fn log() -> (Vec<SealedEntry>, Head) {
        let mut head = Head::default();
        let entry = |number: i64| AuditEntry {
            at: Timestamp(number),
            actor: Actor::CommandLine,
            action: AuditAction::DepositBooked,
            subject: format!("account/{number}"),
            detail: json!({ "amount_micros": number }),
        };
        ((1..=6).map(|number| head.seal(&entry(number))).collect(), head)
    }

    fn anchor(entry: &SealedEntry, key: &SigningKey) -> Anchor {
        key.sign(Statement {
            store: STORE.to_owned(),
            seq: entry.seq,
            hash: entry.hash,
            transfers: 0,
            balances_hash: Hash::default(),
            at: Timestamp(entry.seq),
        })
    }

    fn check(entries: &[SealedEntry], anchors: Vec<Anchor>, begins: Begins, ends: Ends) -> AuditReport {
        let mut check = Check::new(anchors, &[key("1").public_key()], Some(STORE), begins);
        for entry in entries {
            check.entry(entry);
        }
        check.finish(ends)
    }

    fn found(report: &AuditReport) -> Vec<(i64, &str)> {
        report.findings.iter().map(|finding| (finding.seq, finding.what.as_str())).collect()
    }

    /// Chains entries again, by the right algorithm.
    fn rechain(entries: &mut [SealedEntry]) {
        let mut previous = Hash::default();
        for entry in entries {
            entry.previous_hash = previous;
            entry.hash = entry.content_hash();
            previous = entry.hash;
        }
    }

    #[test]
    fn a_log_as_it_was_written_is_sound() {
        let (entries, head) = log();
        let anchors = vec![anchor(&entries[2], &key("1")), anchor(&entries[4], &key("1"))];
        let report = check(&entries, anchors, Begins::After(0), Ends::At(head));
        let expected = AuditReport {
            entries: 6,
            first: 1,
            last: 6,
            anchors: 2,
            anchored_to: 5,
            ..AuditReport::default()
        };
        assert_eq!(report, expected);
        assert_eq!(check(&[], vec![], Begins::After(0), Ends::At(Head::default())), AuditReport::default());
    }

    #[test]
    fn every_way_of_bending_it_is_found() {
        type Bend = fn(&mut Vec<SealedEntry>);
        let table: [(Bend, i64, &str); 13] = [
            (|log| log[1].at = Timestamp(1), 2, "was changed"),
            (|log| log[1].actor = "exchange".to_owned(), 2, "was changed"),
            (|log| log[1].api_key = Some("x".to_owned()), 2, "was changed"),
            (|log| log[1].detail.push(' '), 2, "was changed"),
            (|log| log[1].previous_hash.0[0] ^= 1, 2, "does not follow entry 1"),
            (|log| log[1].hash.0[0] ^= 1, 3, "does not follow entry 2"),
            (|log| drop(log.remove(0)), 2, "is the first, but 1 should be"),
            (|log| drop(log.remove(2)), 4, "follows entry 2"),
            (|log| drop(log.pop()), 6, "is the last, says the writer's own note"),
            (|log| log.swap(1, 2), 2, "comes after entry 3"),
            (|log| log.insert(2, log[1].clone()), 2, "comes after entry 2"),
            (
                |log| {
                    log[3].subject = "account/9".to_owned();
                    rechain(log);
                },
                5,
                "is not the entry that was anchored",
            ),
            (
                |log| {
                    log.truncate(4);
                    rechain(log);
                },
                5,
                "was the last on 1970-01-01T00:00:00.000005Z, says an anchor",
            ),
        ];
        for (place, (bend, seq, what)) in table.into_iter().enumerate() {
            let (mut entries, head) = log();
            let anchors = vec![anchor(&entries[4], &key("1"))];
            bend(&mut entries);
            let report = check(&entries, anchors, Begins::After(0), Ends::At(head));
            let is_found = found(&report).iter().any(|(at, found)| *at == seq && found.starts_with(what));
            assert!(is_found, "case {place}: wanted {seq} {what}, found {:#?}", report.findings);
        }
    }

    #[test]
    fn anchors_that_vouch_for_nothing_are_found() {
        let (entries, head) = log();
        let mut bent = anchor(&entries[1], &key("1"));
        bent.statement.transfers += 1;
        let foreign = anchor(&entries[2], &key("2"));
        let mut statement = anchor(&entries[3], &key("1")).statement;
        statement.store = "ffffffffffffffff".to_owned();
        let report =
            check(&entries, vec![bent, foreign, key("1").sign(statement)], Begins::After(0), Ends::At(head));
        let about: Vec<i64> = report.findings.iter().map(|finding| finding.seq).collect();
        assert_eq!((about, report.anchors, report.anchored_to), (vec![2, 3, 4], 0, 0));
    }

    #[test]
    fn after_detached_entries_an_anchor_vouches_for_the_rest() {
        let (entries, head) = log();
        let rest = &entries[3..];
        let anchors = |place: usize| vec![anchor(&entries[1], &key("1")), anchor(&entries[place], &key("1"))];
        for place in [2, 4] {
            let report = check(rest, anchors(place), Begins::After(3), Ends::At(head));
            assert_eq!(found(&report).len(), usize::from(place == 2), "{report:?}");
        }
        let mut written_anew = rest.to_vec();
        written_anew[0].previous_hash = Hash([7; 32]);
        written_anew[0].hash = written_anew[0].content_hash();
        let report = check(&written_anew, anchors(2), Begins::After(3), Ends::Anywhere);
        assert!(found(&report)[0].1.contains("as it was anchored"), "{report:?}");
        let all_gone = check(&[], anchors(1), Begins::After(6), Ends::At(head));
        assert_eq!((found(&all_gone), all_gone.anchors_elsewhere), (vec![], 1));
    }

    #[test]
    fn an_export_may_be_of_a_part() {
        let (entries, _) = log();
        let anchors = [0, 3, 5].map(|place| anchor(&entries[place], &key("1"))).to_vec();
        let report = check(&entries[2..5], anchors, Begins::Anywhere, Ends::Anywhere);
        assert_eq!(found(&report), vec![]);
        assert_eq!((report.first, report.last, report.anchors, report.anchors_elsewhere), (3, 5, 1, 2));
    }
}
