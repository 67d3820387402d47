//! The audit finds what is wrong, whichever way the rows were bent.

use crate::fixtures::{
    Home, account, account_id, at, attempt, awaiting_revenue, call, call_id, converted, deposit,
    on_every_store, open_account, revenue_lapsed, revenue_reported, ringing, three_calls,
};
use exchange::account::AccountKind;
use exchange::call::CallState;
use exchange::effect::Record;
use exchange::id::AccountId;
use exchange::ledger::money::Micros;
use infra::store::{Store, UnitOfWork, VerifyReport};

on_every_store!(
    sound_books_have_no_violations,
    every_way_of_cooking_the_books_is_found,
    what_is_kept_for_a_revenue_is_looked_at_too,
    a_call_charged_without_converting_is_found,
    a_lowered_credit_limit_does_not_condemn_the_past,
);

/// Seller 1, buyer 2 with 100 paid in; call 1 converted, call 2 abandoned, call 3 ringing.
fn books(new_home: fn() -> Home) -> Home {
    let home = new_home();
    let store = home.open();
    for unit in three_calls() {
        store.writer().commit(unit).expect("sound");
    }
    home
}

/// What is booked there, on any database and for all time.
const DIGEST_OF_THREE_CALLS: &str = "506303154561bcd32f307eaab1b1e0ad2e7f1fbb1ab90710838f7d3975d3388e";

fn verify(home: &Home) -> VerifyReport {
    Store::open_read_only(home.place()).expect("nobody writes").verify().expect("the audit runs")
}

fn sound_books_have_no_violations(new_home: fn() -> Home) {
    let report = verify(&books(new_home));
    let ledger_digest = DIGEST_OF_THREE_CALLS.parse().expect("a hash");
    let counted =
        VerifyReport { open_holds: 1, calls: 3, transfers: 7, journal_entries: 8, ..VerifyReport::default() };
    let expected = VerifyReport { ledger_digest, ..counted };
    assert_eq!(report, expected);
}

fn every_way_of_cooking_the_books_is_found(new_home: fn() -> Home) {
    let (one, two, three) = (call_id(1), call_id(2), call_id(3));
    let buyer = account_id(2);
    let table: [(&str, String); 12] = [
        (
            "UPDATE ledger_accounts SET balance_micros = balance_micros + 1 WHERE name = 'margin'",
            "ledger: all balances sum to 1 micro-units instead of 0".to_owned(),
        ),
        (
            "UPDATE ledger_accounts SET balance_micros = balance_micros + 1 WHERE name = 'margin'",
            "ledger account margin: balance 3.000001, transfers say 3.00".to_owned(),
        ),
        (
            "DELETE FROM transfers WHERE reason LIKE 'payout:%'",
            format!("call {one}: payout:{one} is 0.00, its documents say 7.00"),
        ),
        (
            "DELETE FROM transfers WHERE reason LIKE 'release:%'",
            format!("call {two}: attempt 1 held 10.00, but 0.00 was released, 0.00 charged and 0.00 kept"),
        ),
        (
            "UPDATE transfers SET amount_micros = 6000000 WHERE reason LIKE 'release:%'",
            format!("call {two}: attempt 1 held 10.00, but 6.00 was released, 0.00 charged and 0.00 kept"),
        ),
        (
            "DELETE FROM transfers WHERE seq = (SELECT max(seq) FROM transfers WHERE reason LIKE 'hold:%')",
            format!("call {three}: attempt 1 holds 0.00 instead of 10.00"),
        ),
        (
            "UPDATE transfers SET amount_micros = 5000000 WHERE reason LIKE 'deposit:%'",
            format!(
                "transfer 2 (hold:{one}:1): leaves buyer {buyer} at -5.00, past its credit limit of 0.00"
            ),
        ),
        (
            "DELETE FROM journal WHERE seq = 3",
            "journal: 7 entries numbered 1 to 8; some are missing".to_owned(),
        ),
        (
            "DELETE FROM calls WHERE state = 'ringing'",
            format!("call {three}: moved money, but there is no such call"),
        ),
        (
            "DELETE FROM calls WHERE state = 'ringing'",
            format!("buyer {buyer}: 10.00 held, but open calls hold 0.00"),
        ),
        ("UPDATE calls SET charge_micros = 1", format!("call {two}: its columns and its document disagree")),
        (
            "UPDATE transfers SET to_ledger = (SELECT id FROM ledger_accounts WHERE name = 'external')
             WHERE reason LIKE 'margin:%'",
            format!("transfer 4 (margin:{one}): moves money from held:{buyer} to external"),
        ),
    ];
    for (sql, expected) in table {
        let home = books(new_home);
        home.cook(sql);
        let report = verify(&home);
        assert!(
            report.violations.contains(&expected),
            "{sql}\nwanted {expected}\nfound {:#?}",
            report.violations
        );
        assert_eq!(report.violations_total, report.violations.len() as u64);
    }
}

/// What comes of the revenue of a call.
type Report = dyn Fn(u128, AccountId) -> UnitOfWork;

fn what_is_kept_for_a_revenue_is_looked_at_too(new_home: fn() -> Home) {
    let one = call_id(1);
    let buyer = account_id(2);
    let after = |report: &Report| {
        let home = new_home();
        let store = home.open();
        let accounts = [account(1, AccountKind::Seller), account(2, AccountKind::Buyer)].map(open_account);
        let paid =
            [deposit(buyer, "wire:1", Micros::units(30)), ringing(1, buyer), awaiting_revenue(1, buyer)];
        for unit in accounts.into_iter().chain(paid).chain([report(1, buyer)]) {
            store.writer().commit(unit).expect("sound");
        }
        home
    };
    let nothing = |_, _| UnitOfWork::default();
    let table: [(&Report, u64, &str, String); 4] = [
        (
            &nothing,
            1,
            "UPDATE calls SET awaits_revenue_until = NULL",
            format!("call {one}: its columns and its document disagree"),
        ),
        (
            &nothing,
            1,
            "UPDATE transfers SET amount_micros = 9000000 WHERE reason LIKE 'hold:%'",
            format!("call {one}: attempt 1 held 9.00, but 0.00 was released, 4.00 charged and 6.00 kept"),
        ),
        (
            &revenue_reported,
            0,
            "DELETE FROM transfers WHERE reason LIKE 'revenue_payout:%'",
            format!("call {one}: revenue_payout:{one} is 0.00, its documents say 3.50"),
        ),
        (
            &revenue_lapsed,
            0,
            "DELETE FROM transfers WHERE reason LIKE 'release:%'",
            format!("call {one}: attempt 1 held 10.00, but 0.00 was released, 4.00 charged and 0.00 kept"),
        ),
    ];
    for (report, open_holds, sql, expected) in table {
        let home = after(report);
        let sound = verify(&home);
        assert_eq!((&sound.violations, sound.open_holds), (&Vec::new(), open_holds), "{sql}");
        home.cook(sql);
        let report = verify(&home);
        assert!(report.violations.contains(&expected), "{sql}\nwanted {expected}\n{:#?}", report.violations);
    }
}

fn a_call_charged_without_converting_is_found(new_home: fn() -> Home) {
    let home = books(new_home);
    let store = home.open();
    let state = CallState::Connected {
        attempt: attempt(1, account_id(2), at(3)),
        answered_at: at(4),
        fallbacks: Vec::new(),
        recoveries: 0,
    };
    let mut charged = converted(3, account_id(2));
    charged.records.retain(|record| !matches!(record, Record::Call(_)));
    charged.records.push(Record::Call(Box::new(call(3, state))));
    store.writer().commit(charged).expect("the store does not judge");
    drop(store);
    let found = verify(&home).violations;
    let expected = format!("call {}: not converted, but charged 10.00", call_id(3));
    assert!(found.contains(&expected), "{found:#?}");
}

fn a_lowered_credit_limit_does_not_condemn_the_past(new_home: fn() -> Home) {
    let home = new_home();
    let store = home.open();
    let mut buyer = account(2, AccountKind::Buyer);
    let commit = |unit| store.writer().commit(unit).expect("sound");
    buyer.credit_limit_micros = Micros::units(20);
    commit(open_account(buyer.clone()));
    commit(ringing(1, buyer.id));
    commit(ringing(2, buyer.id));
    buyer.credit_limit_micros = Micros::units(5);
    commit(open_account(buyer.clone()));
    assert_eq!(store.reader().verify().expect("the audit runs").violations, Vec::<String>::new());

    // But a hold after that passes the new limit.
    commit(ringing(3, buyer.id));
    let found = store.reader().verify().expect("the audit runs").violations;
    let expected = format!(
        "transfer 3 (hold:{}:1): leaves buyer {} at -30.00, past its credit limit of 5.00",
        call_id(3),
        buyer.id
    );
    assert_eq!(found, [expected]);
}
