//! What the API reads: filters, pages, one thing by its id.

use crate::fixtures::{
    HOLD, Home, MARGIN, PAYOUT, abandoned, account, account_id, at, bid_id, bid_profile, call_id, converted,
    deposit, on_every_store, open_account, phone, ringing, tracking_number, unit,
};
use exchange::account::{AccountKind, AccountStatus};
use exchange::audit::Actor;
use exchange::effect::Record;
use exchange::ledger::money::Micros;
use exchange::ledger::transfer::{LedgerAccount, TransferReason};
use exchange::time::Timestamp;
use infra::store::{
    AccountFilter, ApiKey, ApiKeyFilter, Balances, BidProfileFilter, CallFilter, CallStage, Listing,
    OnDurable, Page, Reader, SESSIONS_PER_KEY_MAX, SessionTerms, Store, StoreError, TrackingNumberFilter,
};
use std::time::Duration;
use uuid::Uuid;

on_every_store!(
    pages_of_any_size_give_every_item_once,
    a_cursor_from_elsewhere_is_refused,
    calls_are_filtered,
    accounts_numbers_and_bids_are_filtered,
    one_thing_is_found_by_its_id_or_is_not_there,
    money_is_read_by_call_by_account_and_by_reason,
    totals_add_up,
    the_outbox_is_read_in_order_from_any_place,
    api_keys_are_found_by_the_hash_of_their_secret_until_revoked,
    sessions_end_with_their_key_and_are_not_too_many,
    reads_do_not_wait_for_a_busy_writer,
);

const CALLS: u128 = 10;

/// Seller 1, buyers 2 and 3, ten calls: odd ones to buyer 3, those up to 6 over, every third of these abandoned.
fn marketplace(new_home: fn() -> Home) -> (Home, Store) {
    let home = new_home();
    let store = home.open();
    let mut suspended = account(3, AccountKind::Buyer);
    suspended.status = AccountStatus::Suspended;
    let mut units = vec![
        open_account(account(1, AccountKind::Seller)),
        open_account(account(2, AccountKind::Buyer)),
        open_account(suspended),
        deposit(account_id(2), "wire-1", Micros::units(1_000)),
        deposit(account_id(3), "wire-1", Micros::units(1_000)),
    ];
    for number in 1..=5 {
        let numbers = Record::TrackingNumber(tracking_number(number, account_id(u128::from(number % 2))));
        let vertical = if number % 2 == 0 { "medicare" } else { "legal" };
        let bid = bid_profile(u128::from(number), account_id(2 + u128::from(number % 2)), vertical);
        units.push(unit(1, vec![numbers, Record::BidProfile(std::sync::Arc::new(bid))]));
    }
    let buyer = |number: u128| account_id(2 + number % 2);
    units.extend((1..=CALLS).map(|number| ringing(number, buyer(number))));
    units.extend((1..=6).map(|number| match number % 3 {
        0 => abandoned(number, buyer(number)),
        _ => converted(number, buyer(number)),
    }));
    for unit in units {
        store.writer().commit(unit).expect("sound");
    }
    (home, store)
}

/// Reads a listing to its end in pages of `limit`.
fn all<T>(limit: u32, read: impl Fn(&Page) -> Result<Listing<T>, StoreError>) -> Vec<T> {
    let mut page = Page::first(limit);
    let mut items = Vec::new();
    loop {
        let listing = read(&page).expect("readable");
        assert!(listing.items.len() <= limit as usize);
        let next = page.following(&listing);
        assert!(next.is_none() || listing.items.len() == limit as usize, "only the last page is short");
        items.extend(listing.items);
        match next {
            Some(next) => page = next,
            None => return items,
        }
    }
}

fn pages_of_any_size_give_every_item_once(new_home: fn() -> Home) {
    let (_home, store) = marketplace(new_home);
    let reader = store.reader();
    for limit in [1, 2, 3, 5, 200] {
        let calls = all(limit, |page| reader.calls(&CallFilter::default(), page));
        let newest_first: Vec<_> = (1..=CALLS).rev().map(call_id).collect();
        assert_eq!(calls.iter().map(|call| call.id).collect::<Vec<_>>(), newest_first, "limit {limit}");
        let accounts = all(limit, |page| reader.accounts(&AccountFilter::default(), page));
        assert_eq!(accounts.iter().map(|account| account.id).collect::<Vec<_>>(), [1, 2, 3].map(account_id));
        let bids = all(limit, |page| reader.bid_profiles(&BidProfileFilter::default(), page));
        assert_eq!(bids.iter().map(|bid| bid.id).collect::<Vec<_>>(), [1, 2, 3, 4, 5].map(bid_id));
        let numbers = all(limit, |page| reader.tracking_numbers(&TrackingNumberFilter::default(), page));
        assert_eq!(
            numbers.iter().map(|number| number.number).collect::<Vec<_>>(),
            [1, 2, 3, 4, 5].map(phone)
        );
        let transfers = all(limit, |page| reader.transfers_of_account(account_id(2), page));
        // The deposit, five holds, and what became of those of calls 2, 4 and 6.
        assert_eq!(transfers.len(), 1 + 5 + 2 + 2 + 1, "limit {limit}");
        assert!(transfers.is_sorted_by(|newer, older| newer.seq > older.seq));
    }
}

fn a_cursor_from_elsewhere_is_refused(new_home: fn() -> Home) {
    let (_home, store) = marketplace(new_home);
    let reader = store.reader();
    let page = Page { after: Some("elsewhere".to_owned()), limit: 10 };
    let refusals = [
        reader.accounts(&AccountFilter::default(), &page).err(),
        reader.tracking_numbers(&TrackingNumberFilter::default(), &page).err(),
        reader.bid_profiles(&BidProfileFilter::default(), &page).err(),
        reader.calls(&CallFilter::default(), &page).err(),
        reader.transfers_of_account(account_id(1), &page).err(),
        reader.api_keys(&ApiKeyFilter::default(), &page).err(),
    ];
    for refusal in refusals {
        assert!(matches!(refusal, Some(StoreError::BadCursor { cursor }) if cursor == "elsewhere"));
    }
}

fn calls_are_filtered(new_home: fn() -> Home) {
    let (_home, store) = marketplace(new_home);
    let all = CallFilter::default;
    let table: [(CallFilter, &[u128]); 11] = [
        (CallFilter { seller: Some(account_id(1)), from: Some(at(9)), ..all() }, &[10, 9]),
        (CallFilter { seller: Some(account_id(2)), ..all() }, &[]),
        (CallFilter { buyer: Some(account_id(2)), ..all() }, &[10, 8, 4, 2]),
        (CallFilter { buyer: Some(account_id(3)), state: Some(CallStage::Ended), ..all() }, &[5, 1]),
        (CallFilter { state: Some(CallStage::Ringing), ..all() }, &[10, 9, 8, 7]),
        (CallFilter { state: Some(CallStage::Connected), ..all() }, &[]),
        (CallFilter { outcome: Some("abandoned".to_owned()), ..all() }, &[6, 3]),
        (CallFilter { outcome: Some("converted".to_owned()), to: Some(at(4)), ..all() }, &[2, 1]),
        (CallFilter { from: Some(at(3)), to: Some(at(5)), ..all() }, &[4, 3]),
        (CallFilter { vertical: Some("medicare".to_owned()), from: Some(at(10)), ..all() }, &[10]),
        (CallFilter { vertical: Some("legal".to_owned()), ..all() }, &[]),
    ];
    for (filter, expected) in table {
        let found = store.reader().calls(&filter, &Page::default()).expect("readable");
        let ids: Vec<_> = found.items.iter().map(|call| call.id).collect();
        assert_eq!(ids, expected.iter().copied().map(call_id).collect::<Vec<_>>(), "{filter:?}");
    }
}

fn accounts_numbers_and_bids_are_filtered(new_home: fn() -> Home) {
    let (_home, store) = marketplace(new_home);
    let reader = store.reader();
    let page = Page::default();
    let accounts = |kind, status| -> Vec<_> {
        let found = reader.accounts(&AccountFilter { kind, status }, &page).expect("readable");
        found.items.iter().map(|account| account.id).collect()
    };
    assert_eq!(accounts(Some(AccountKind::Buyer), None), [2, 3].map(account_id));
    assert_eq!(accounts(Some(AccountKind::Buyer), Some(AccountStatus::Active)), [account_id(2)]);
    assert_eq!(accounts(None, Some(AccountStatus::Suspended)), [account_id(3)]);

    let of_seller = TrackingNumberFilter { seller: Some(account_id(1)) };
    let found = reader.tracking_numbers(&of_seller, &page).expect("readable");
    assert_eq!(found.items.iter().map(|number| number.number).collect::<Vec<_>>(), [1, 3, 5].map(phone));

    let bids = |buyer: Option<u128>, vertical: Option<&str>| -> Vec<_> {
        let filter = BidProfileFilter { buyer: buyer.map(account_id), vertical: vertical.map(str::to_owned) };
        let found = reader.bid_profiles(&filter, &page).expect("readable");
        found.items.iter().map(|bid| bid.id).collect()
    };
    assert_eq!(bids(Some(2), None), [2, 4].map(bid_id));
    assert_eq!(bids(None, Some("legal")), [1, 3, 5].map(bid_id));
    assert_eq!(bids(Some(2), Some("legal")), []);
}

fn one_thing_is_found_by_its_id_or_is_not_there(new_home: fn() -> Home) {
    let (_home, store) = marketplace(new_home);
    let reader = store.reader();
    assert_eq!(reader.account(account_id(1)).expect("readable"), Some(account(1, AccountKind::Seller)));
    assert_eq!(reader.account(account_id(9)).expect("readable"), None);
    assert_eq!(reader.tracking_number(phone(1)).expect("readable"), Some(tracking_number(1, account_id(1))));
    assert_eq!(reader.tracking_number(phone(9)).expect("readable"), None);
    assert_eq!(
        reader.bid_profile(bid_id(2)).expect("readable"),
        Some(bid_profile(2, account_id(2), "medicare"))
    );
    assert_eq!(reader.bid_profile(bid_id(9)).expect("readable"), None);
    assert_eq!(reader.call(call_id(1)).expect("readable").map(|call| call.id), Some(call_id(1)));
    assert_eq!(reader.call(call_id(99)).expect("readable"), None);
    let receipt = reader.receipt(call_id(1)).expect("readable").expect("every call has one");
    assert_eq!((receipt.call, receipt.decided_in_ns), (call_id(1), Some(1_000)));
    assert_eq!(reader.receipt(call_id(99)).expect("readable"), None);
}

fn money_is_read_by_call_by_account_and_by_reason(new_home: fn() -> Home) {
    let (_home, store) = marketplace(new_home);
    let reader = store.reader();
    let of_call: Vec<_> = reader
        .transfers_of_call(call_id(1))
        .expect("readable")
        .into_iter()
        .map(|booked| (booked.transfer.reason.to_string(), booked.transfer.amount_micros))
        .collect();
    let id = call_id(1);
    let expected =
        [(format!("hold:{id}:1"), HOLD), (format!("payout:{id}"), PAYOUT), (format!("margin:{id}"), MARGIN)];
    assert_eq!(of_call, expected);

    let balances = |number| reader.balances(account_id(number)).expect("readable");
    let buyer = Balances {
        // Five holds, of which one was released.
        available_micros: Micros::units(1_000 - 4 * 10),
        held_micros: Micros::units(2 * 10),
        payable_micros: Micros::ZERO,
    };
    assert_eq!(balances(2), buyer);
    assert_eq!(balances(1), Balances { payable_micros: Micros::units(4 * 7), ..Balances::default() });
    assert_eq!(balances(9), Balances::default());
    assert_eq!(reader.balance(LedgerAccount::Margin).expect("readable"), Micros::units(4 * 3));

    let deposit = |reference: &str| {
        let reason = TransferReason::Deposit { account: account_id(2), reference: reference.to_owned() };
        reader.transfer(&reason).expect("readable").map(|booked| booked.transfer.amount_micros)
    };
    assert_eq!((deposit("wire-1"), deposit("wire-2")), (Some(Micros::units(1_000)), None));
}

fn totals_add_up(new_home: fn() -> Home) {
    let (_home, store) = marketplace(new_home);
    let totals = store.reader().totals(&CallFilter::default()).expect("readable");
    assert_eq!((totals.offered, totals.open), (10, 4));
    let ended: Vec<_> = totals.ended.iter().map(|(outcome, calls)| (outcome.as_str(), *calls)).collect();
    assert_eq!(ended, [("abandoned", 2), ("converted", 4)]);
    assert_eq!(totals.charged_micros, Micros::units(40));
    assert_eq!(totals.paid_micros, Micros::units(28));
    assert_eq!(totals.margin_micros, Micros::units(12));
    let of_buyer = CallFilter { buyer: Some(account_id(3)), ..CallFilter::default() };
    let totals = store.reader().totals(&of_buyer).expect("readable");
    assert_eq!((totals.offered, totals.open, totals.charged_micros), (4, 2, Micros::units(20)));
}

fn event_ids(reader: &Reader) -> Vec<Uuid> {
    reader.events_after(0, 200).expect("readable").iter().map(|event| event.id).collect()
}

fn the_outbox_is_read_in_order_from_any_place(new_home: fn() -> Home) {
    let (home, store) = marketplace(new_home);
    let reader = store.reader();
    let all = reader.events_after(0, 200).expect("readable");
    assert_eq!(all.iter().map(|event| event.seq).collect::<Vec<_>>(), (1..=16).collect::<Vec<_>>());
    assert_eq!(reader.events_after(14, 200).expect("readable"), all[14..]);
    assert_eq!(reader.events_after(3, 2).expect("readable"), all[3..5]);
    assert_eq!(reader.events_after(16, 2).expect("readable"), []);

    let event = all[0].cloud_event("/exchange");
    let expected = serde_json::json!({
        "specversion": "1.0",
        "id": all[0].id.to_string(),
        "source": "/exchange",
        "type": "compliance.checked",
        "subject": format!("call/{}", call_id(1)),
        "time": "1970-01-01T00:00:00.000001Z",
        "datacontenttype": "application/json",
        "data": {"rules": 4},
    });
    assert_eq!(event, expected);

    let ids = event_ids(&reader);
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());
    drop((store, reader));
    assert_eq!(event_ids(&home.open().reader()), ids, "the same after opening again");
    let (_other_home, other) = marketplace(new_home);
    assert!(event_ids(&other.reader()).iter().all(|id| !distinct.contains(id)), "another store's differ");
}

fn api_keys_are_found_by_the_hash_of_their_secret_until_revoked(new_home: fn() -> Home) {
    let (_home, store) = marketplace(new_home);
    let key = |number: u128, account| ApiKey {
        id: Uuid::from_u128(number),
        name: format!("key {number}"),
        role: "admin".to_owned(),
        account,
        created_at: at(1),
        revoked_at: None,
        session: None,
    };
    let (one, two) = (key(1, None), key(2, Some(account_id(2))));
    store.writer().insert_api_key(one.clone(), [1; 32], Actor::CommandLine).expect("new");
    store.writer().insert_api_key(two.clone(), [2; 32], Actor::CommandLine).expect("new");
    let twice = store.writer().insert_api_key(key(3, None), [2; 32], Actor::CommandLine);
    assert!(matches!(twice, Err(StoreError::Rejected(_))), "a secret belongs to one key");
    let reader = store.reader();
    assert_eq!(reader.api_key_by_hash(&[2; 32]).expect("readable"), Some(two.clone()));
    assert_eq!(reader.api_key_by_hash(&[3; 32]).expect("readable"), None);

    store.writer().revoke_api_key(two.clone(), at(5), Actor::CommandLine).expect("there");
    store.writer().revoke_api_key(two.clone(), at(6), Actor::CommandLine).expect("there");
    assert_eq!(reader.api_key_by_hash(&[2; 32]).expect("readable"), None);
    let revoked = ApiKey { revoked_at: Some(at(5)), ..two };
    assert_eq!(all(1, |page| reader.api_keys(&ApiKeyFilter::default(), page)), [one, revoked]);
}

fn sessions_end_with_their_key_and_are_not_too_many(new_home: fn() -> Home) {
    let (_home, store) = marketplace(new_home);
    let (writer, reader) = (store.writer(), store.reader());
    let row = |number: u128, session: Option<SessionTerms>, created_at| ApiKey {
        id: Uuid::from_u128(number),
        name: "a row".to_owned(),
        role: "admin".to_owned(),
        account: None,
        created_at,
        revoked_at: None,
        session,
    };
    let began = at(1_000);
    let session = |number: u128, key: u128, lasts_s: u64| {
        let expires_at = began + Duration::from_secs(lasts_s);
        row(number, Some(SessionTerms { key: Uuid::from_u128(key), expires_at }), began)
    };
    let insert = |row: &ApiKey| {
        let mut hash = [9; 32];
        hash[..16].copy_from_slice(row.id.as_bytes());
        writer.insert_api_key(row.clone(), hash, Actor::CommandLine)
    };
    let live = |key: u128, at| -> Vec<u128> {
        let live = reader.live_sessions(Uuid::from_u128(key), at).expect("readable");
        live.into_iter().map(|session| session.id.as_u128()).collect()
    };
    for key in [1, 2] {
        insert(&row(key, None, began)).expect("new");
    }
    let first = session(100, 1, 60);
    insert(&first).expect("its key is there");
    let mut hash = [9; 32];
    hash[..16].copy_from_slice(first.id.as_bytes());
    assert_eq!(reader.api_key_by_hash(&hash).expect("readable"), Some(first.clone()));
    assert_eq!(live(1, began), [100]);
    assert_eq!(live(1, began + Duration::from_mins(1)), [], "over at its end, to the microsecond");
    let end = began + Duration::from_mins(1);
    assert!(first.is_live(Timestamp(end.0 - 1)) && !first.is_live(end));
    let keys = all(10, |page| reader.api_keys(&ApiKeyFilter::default(), page));
    assert_eq!(keys.len(), 2, "sessions are not listed as keys");

    for refused in [session(101, 9, 60), session(102, 100, 60)] {
        assert!(matches!(insert(&refused), Err(StoreError::Rejected(_))), "{refused:?}");
    }
    for number in 1..SESSIONS_PER_KEY_MAX as u128 {
        insert(&session(100 + number, 1, 60)).expect("room");
    }
    assert!(matches!(insert(&session(199, 1, 60)), Err(StoreError::Rejected(_))), "one too many");
    insert(&session(200, 2, 60)).expect("another key has room of its own");
    writer.revoke_api_key(first.clone(), began, Actor::CommandLine).expect("there");
    insert(&session(199, 1, 7_200)).expect("room again");

    let much_later = began + Duration::from_mins(61);
    let of_two = SessionTerms { key: Uuid::from_u128(2), expires_at: much_later + Duration::from_secs(9) };
    insert(&row(201, Some(of_two), much_later)).expect("the others are over");
    assert_eq!(reader.api_key(first.id).expect("readable"), None, "deleted an hour after its end");
    assert_eq!(live(1, much_later), [199], "one that lives is not");

    writer.revoke_api_key(row(1, None, began), much_later, Actor::CommandLine).expect("there");
    assert_eq!(live(1, much_later), []);
    assert!(matches!(insert(&session(202, 1, 60)), Err(StoreError::Rejected(_))), "its key is revoked");
    assert_eq!(live(2, much_later), [201]);
    assert!(reader.verify().expect("the audit runs").violations.is_empty());
}

fn reads_do_not_wait_for_a_busy_writer(new_home: fn() -> Home) {
    let (_home, store) = marketplace(new_home);
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let blocking = OnDurable::new(move |_| {
        // Ends when the test drops its side.
        let _ = wait.recv();
    });
    store.writer().submit(unit(1, Vec::new()), blocking).expect("the queue has room");
    let totals = store.reader().totals(&CallFilter::default()).expect("readable");
    assert_eq!(totals.offered, 10);
    drop(go_on);
}
