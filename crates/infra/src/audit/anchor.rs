//! Anchors: signed statements of how far the chain came, so that its end cannot be cut off or written anew unnoticed.
//!
//! Signatures are Ed25519 (RFC 8032). Whoever has the signing key can make anchors for any chain: keep copies of the anchors where
//! the exchange's machine cannot change them.

use super::hash::{Hash, read_hex, write_hex};
use exchange::time::Timestamp;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// What every signed text begins with, so that a signature made for something else is none of an anchor.
const PURPOSE: &str = "dce audit anchor 1";

/// What an anchor states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Whose chain it is: the first half of its events' ids, as 16 hexadecimal digits.
    pub store: String,
    /// The number of the last entry.
    pub seq: i64,
    /// Its hash.
    pub hash: Hash,
    /// The number of the last transfer booked; 0 before the first.
    pub transfers: i64,
    /// SHA-256 of all ledger balances that are not 0: `name=micro-units` and a line feed for each, in the order of the names.
    pub balances_hash: Hash,
    /// When it was stated, in microseconds since 1970.
    pub at: Timestamp,
}

/// A statement, and who vouches for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// What it states.
    #[serde(flatten)]
    pub statement: Statement,
    /// Whose signature it is.
    pub public_key: PublicKey,
    /// Over the statement.
    pub signature: Signature,
}

/// An Ed25519 public key, as 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublicKey(pub Hash);

/// An Ed25519 signature, as 128 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

/// The key that signs. It shows only its public half.
pub struct SigningKey(Ed25519KeyPair);

/// A text is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key: it is 64 hexadecimal digits")]
pub struct KeyError;

impl Statement {
    /// What is signed: the purpose, a line feed, and the JSON array of the statement's fields.
    fn signed_text(&self) -> String {
        let Self { store, seq, hash, transfers, balances_hash, at } = self;
        let fields = serde_json::to_string(&(store, seq, hash, transfers, balances_hash, at.0));
        format!("{PURPOSE}\n{}", fields.expect("numbers and texts are JSON"))
    }
}

impl Anchor {
    /// Whether the signature is that key's over that statement.
    pub fn is_signed(&self) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, self.public_key.0.0);
        key.verify(self.statement.signed_text().as_bytes(), &self.signature.0).is_ok()
    }

    /// The event that takes a copy of it elsewhere: its type and its data.
    pub(crate) fn event(&self) -> (&'static str, serde_json::Value) {
        ("audit.anchored", serde_json::to_value(self).expect("an anchor is JSON"))
    }
}

impl SigningKey {
    /// Reads the key's seed (RFC 8032, the private key), 64 hexadecimal digits.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let seed: [u8; 32] = read_hex(text.trim()).ok_or(KeyError)?;
        Ed25519KeyPair::from_seed_unchecked(&seed).map(Self).map_err(|_| KeyError)
    }

    /// Its public half.
    pub fn public_key(&self) -> PublicKey {
        let bytes = self.0.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes");
        PublicKey(Hash(bytes))
    }

    /// Vouches for a statement.
    pub fn sign(&self, statement: Statement) -> Anchor {
        let signature = self.0.sign(statement.signed_text().as_bytes());
        let signature = signature.as_ref().try_into().expect("an Ed25519 signature has 64 bytes");
        Anchor { statement, public_key: self.public_key(), signature: Signature(signature) }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey of {}", self.public_key())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        text.trim().parse().map(Self).map_err(|_| KeyError)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = read_hex(&text);
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom("not 128 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.1, test 1.
    const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    type Change = fn(&mut Anchor);

    fn statement() -> Statement {
        Statement {
            store: "00112233aabbccdd".to_owned(),
            seq: 7,
            hash: Hash([1; 32]),
            transfers: 3,
            balances_hash: Hash([2; 32]),
            at: Timestamp(9),
        }
    }

    #[test]
    fn the_public_half_is_the_rfcs() {
        assert_eq!(SigningKey::from_text(SEED).expect("a key").public_key().to_string(), PUBLIC);
        for wrong in ["", PUBLIC.split_at(2).1, "zz"] {
            assert!(SigningKey::from_text(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_anchor_vouches_for_what_it_states_and_for_nothing_else() {
        let anchor = SigningKey::from_text(SEED).expect("a key").sign(statement());
        assert!(anchor.is_signed());
        let text = serde_json::to_string(&anchor).expect("JSON");
        assert_eq!(serde_json::from_str::<Anchor>(&text).expect("our own"), anchor);
        let table: [Change; 8] = [
            |anchor| anchor.statement.store.replace_range(..1, "1"),
            |anchor| anchor.statement.seq = 6,
            |anchor| anchor.statement.hash.0[31] ^= 1,
            |anchor| anchor.statement.transfers = 4,
            |anchor| anchor.statement.balances_hash.0[0] ^= 1,
            |anchor| anchor.statement.at = Timestamp(8),
            |anchor| anchor.public_key.0.0[0] ^= 1,
            |anchor| anchor.signature.0[63] ^= 1,
        ];
        for change in table {
            let mut changed = anchor.clone();
            change(&mut changed);
            assert!(!changed.is_signed(), "{changed:?}");
        }
    }
}
