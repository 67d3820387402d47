//! The image of the bids: as good as the documents, or not used.

use crate::fixtures::{Directory, Home, account_id, at, bid_id, bid_profile, on_every_store, unit};
use exchange::audit::{Actor, AuditEntry};
use exchange::bid::{BidProfile, BidStatus};
use exchange::effect::{Command, Record};
use infra::store::image::{BidImage, ImageMade};
use infra::store::{Store, StoreOptions};
use std::sync::Arc;

on_every_store!(
    bids_come_from_the_image_and_changed_ones_from_their_documents,
    an_image_of_another_past_is_not_used,
    a_damaged_image_is_not_used,
    an_image_nobody_wants_is_given_up,
);

/// Places bids as commands do, with their entries in the audit log.
fn place(store: &Store, bids: impl IntoIterator<Item = BidProfile>) {
    for bid in bids {
        let command = Command::PutBidProfile { bid: Box::new(bid.clone()) };
        let entry = AuditEntry::of_command(&command, Actor::CommandLine, at(1));
        let records = vec![Record::BidProfile(Arc::new(bid)), Record::Audit(Box::new(entry))];
        store.writer().commit(unit(1, records)).expect("sound");
    }
}

fn bid(number: u128, status: BidStatus) -> BidProfile {
    BidProfile { status, ..bid_profile(number, account_id(1), "medicare") }
}

fn active(numbers: std::ops::Range<u128>) -> impl Iterator<Item = BidProfile> {
    numbers.map(|number| bid(number, BidStatus::Active))
}

/// The statuses of the bids that a restart finds, by their numbers.
fn statuses(home: &Home, image: Option<&BidImage>) -> Vec<BidStatus> {
    let store = home.open_with(&StoreOptions { bid_image: image.cloned(), ..StoreOptions::default() });
    let bids = store.load().expect("loads").bid_profiles;
    bids.values().map(|bid| bid.status).collect()
}

/// Pauses the first bid behind everybody's back: only who reads its document sees it.
fn pause_the_first_in_its_document(home: &Home) {
    let id = bid_id(0).0;
    home.cook(&match home {
        Home::Sqlite(_) => format!(
            "UPDATE bid_profiles SET document = replace(document, '\"active\"', '\"paused\"') WHERE id = x'{}'",
            id.simple()
        ),
        Home::Postgresql(_) => format!(
            "UPDATE bid_profiles SET document = replace(document::text, '\"active\"', '\"paused\"')::json WHERE id = '{id}'"
        ),
    });
}

use BidStatus::{Active, Paused};

fn bids_come_from_the_image_and_changed_ones_from_their_documents(new_home: fn() -> Home) {
    let (home, directory) = (new_home(), Directory::new());
    let image = BidImage::in_directory(directory.path());
    let store = home.open();
    place(&store, active(0..3));
    assert_eq!(store.reader().bids_not_in(&image).expect("readable"), 3, "there is no image yet");
    assert_eq!(store.reader().make_image(&image, &|| true).expect("made"), ImageMade::Made { bids: 3 });
    assert_eq!(store.reader().bids_not_in(&image).expect("readable"), 0);
    place(&store, [bid(1, Paused), bid(3, Active), bid(1, Paused)]);
    assert_eq!(store.reader().bids_not_in(&image).expect("readable"), 2, "one changed, one new");
    drop(store);
    pause_the_first_in_its_document(&home);
    assert_eq!(statuses(&home, Some(&image)), [Active, Paused, Active, Active]);
    assert_eq!(statuses(&home, None), [Paused, Paused, Active, Active]);
}

fn an_image_of_another_past_is_not_used(new_home: fn() -> Home) {
    let (home, other, directory) = (new_home(), new_home(), Directory::new());
    let image = BidImage::in_directory(directory.path());
    let store = home.open();
    place(&store, active(0..2));
    store.reader().make_image(&image, &|| true).expect("made");
    drop(store);
    place(&other.open(), [bid(0, Paused), bid(1, Paused)]);
    assert_eq!(statuses(&other, Some(&image)), [Paused, Paused], "another store's");
    // As after the restore of a backup: the same store, and the log goes another way.
    home.cook("UPDATE audit_entries SET hash = previous_hash WHERE seq = 2");
    pause_the_first_in_its_document(&home);
    assert_eq!(statuses(&home, Some(&image)), [Paused, Active]);
}

fn a_damaged_image_is_not_used(new_home: fn() -> Home) {
    let (home, directory) = (new_home(), Directory::new());
    let image = BidImage::in_directory(directory.path());
    let store = home.open();
    place(&store, active(0..2));
    store.reader().make_image(&image, &|| true).expect("made");
    drop(store);
    pause_the_first_in_its_document(&home);
    let file = directory.path().join("bids.image");
    let sound = std::fs::read(&file).expect("there");
    for place in (0..sound.len()).step_by(29) {
        let mut damaged = sound.clone();
        damaged[place] ^= 0x10;
        std::fs::write(&file, damaged).expect("writable");
        assert_eq!(statuses(&home, Some(&image)), [Paused, Active], "byte {place}");
    }
    for length in [0, 50, 80, 90, sound.len() - 1] {
        std::fs::write(&file, &sound[..length]).expect("writable");
        assert_eq!(statuses(&home, Some(&image)), [Paused, Active], "cut at {length}");
    }
    std::fs::write(&file, sound).expect("writable");
    assert_eq!(statuses(&home, Some(&image)), [Active, Active], "whole again");
}

fn an_image_nobody_wants_is_given_up(new_home: fn() -> Home) {
    let (home, directory) = (new_home(), Directory::new());
    let image = BidImage::in_directory(directory.path());
    let store = home.open();
    // Whether it is wanted is asked after each chunk.
    let name = "n".repeat(64 * 1024);
    place(&store, active(0..6).map(|bid| BidProfile { name: name.clone(), ..bid }));
    assert_eq!(store.reader().make_image(&image, &|| false).expect("given up"), ImageMade::GivenUp);
    let left = std::fs::read_dir(directory.path()).expect("readable").count();
    assert_eq!(left, 0, "nothing is left behind");
}
