//! API keys as text: `dce_<id>_<secret>`. Only the secret's SHA-256 is ever kept.
//!
//! A key is found by that hash, in an index. Its timing tells nothing of use: whoever could steer a guess towards the hash
//! of 192 random bits would have to invert SHA-256.

use sha2::{Digest, Sha256};
use std::fmt;
use uuid::Uuid;

/// Bytes of a secret: 192 bits of the operating system's randomness, so that a plain hash of it is safe to keep.
const SECRET_BYTES: usize = 24;

/// A key as its owner holds it. Shows itself only through [`fmt::Display`]; its debug output is masked.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKeyText {
    /// Which key.
    pub id: Uuid,
    secret: [u8; SECRET_BYTES],
}

/// The operating system gave no randomness.
#[derive(Debug, thiserror::Error)]
#[error("no randomness from the operating system ({0}); try again")]
pub struct NoRandomness(getrandom::Error);

/// The text is not an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an API key; it looks like dce_<32 hex digits>_<48 hex digits>")]
pub struct NotAnApiKey;

impl ApiKeyText {
    /// A new key.
    pub fn mint() -> Result<Self, NoRandomness> {
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret).map_err(NoRandomness)?;
        Ok(Self { id: Uuid::now_v7(), secret })
    }

    /// What is kept of the secret.
    pub fn secret_hash(&self) -> [u8; 32] {
        Sha256::digest(self.secret).into()
    }
}

impl fmt::Display for ApiKeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dce_{}_", self.id.simple())?;
        self.secret.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ApiKeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dce_{}_***", self.id.simple())
    }
}

impl std::str::FromStr for ApiKeyText {
    type Err = NotAnApiKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (id, secret_text) =
            text.strip_prefix("dce_").and_then(|rest| rest.split_once('_')).ok_or(NotAnApiKey)?;
        if id.len() != 32 || secret_text.len() != 2 * SECRET_BYTES {
            return Err(NotAnApiKey);
        }
        let id = Uuid::try_parse(id).map_err(|_| NotAnApiKey)?;
        let mut secret = [0; SECRET_BYTES];
        for (byte, digits) in secret.iter_mut().zip(secret_text.as_bytes().chunks(2)) {
            let digit = |ascii: u8| char::from(ascii).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let high = digit(digits[0]).ok_or(NotAnApiKey)?;
            let low = digit(digits[1]).ok_or(NotAnApiKey)?;
            *byte = high << 4 | low;
        }
        Ok(Self { id, secret })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_has_a_hash_of_its_own() {
        let key = ApiKeyText::mint().expect("randomness");
        let read: ApiKeyText = key.to_string().parse().expect("our own text");
        assert_eq!(read, key);
        assert_eq!(read.secret_hash(), key.secret_hash());
        assert_ne!(ApiKeyText::mint().expect("randomness").secret_hash(), key.secret_hash());
    }

    #[test]
    fn debug_output_hides_the_secret() {
        let key = ApiKeyText::mint().expect("randomness");
        let text = key.to_string();
        let secret = text.rsplit('_').next().expect("three parts");
        assert!(!format!("{key:?}").contains(secret));
    }

    #[test]
    fn other_texts_are_refused() {
        let good = ApiKeyText::mint().expect("randomness").to_string();
        let cut = &good[..good.len() - 1];
        let long = format!("{good}0");
        let not_hex = format!("{cut}g");
        let wide = format!("{}\u{e9}", &good[..good.len() - 2]);
        for text in
            ["", "dce_", "dce__", "Bearer", cut, &long, &not_hex, &wide, &good.replace("dce_", "xyz_")]
        {
            assert_eq!(text.parse::<ApiKeyText>(), Err(NotAnApiKey), "{text}");
        }
    }
}
