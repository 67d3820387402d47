//! Tokens that stand for callers' numbers towards one bidder.

use exchange::id::BidProfileId;
use exchange::phone_number::PhoneNumber;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt::Write;

/// Keeps the tokens of this purpose apart from whatever else the key may once be used for.
const PURPOSE: &[u8] = b"dce rtb caller token 1\0";

/// 128 bits of HMAC-SHA-256 (RFC 2104) over the bid profile and the number, in hexadecimal. The same number gives the same bidder
/// the same token; two bidders cannot compare theirs, and without the key no number can be tried against one.
pub(super) fn caller_token(key: &[u8; 32], bid: BidProfileId, number: PhoneNumber) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("an HMAC key may have any length");
    mac.update(PURPOSE);
    mac.update(bid.0.as_bytes());
    mac.update(&number.digits().to_be_bytes());
    let code = mac.finalize().into_bytes();
    code[..16].iter().fold(String::with_capacity(32), |mut token, byte| {
        write!(token, "{byte:02x}").expect("writing to a String does not fail");
        token
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn one_token_for_each_key_bidder_and_number() {
        let number = |text: &str| text.parse::<PhoneNumber>().expect("a number");
        let (one, other) = (BidProfileId(Uuid::from_u128(1)), BidProfileId(Uuid::from_u128(2)));
        let token = caller_token(&[7; 32], one, number("+13055550123"));
        assert_eq!(token.len(), 32);
        assert!(!token.contains("3055550123"));
        assert_eq!(token, caller_token(&[7; 32], one, number("(305) 555-0123")));
        for different in [
            caller_token(&[8; 32], one, number("+13055550123")),
            caller_token(&[7; 32], other, number("+13055550123")),
            caller_token(&[7; 32], one, number("+13055550124")),
        ] {
            assert_ne!(token, different);
        }
    }
}
