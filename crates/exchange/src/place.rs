//! Places: states, ZIP codes, and languages as short codes that copy like numbers.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A United States state, territory, or Canadian province: two capital letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(value_type = String, example = "FL"))]
#[serde(try_from = "String", into = "String")]
pub struct State([u8; 2]);

impl TryFrom<String> for State {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match <[u8; 2]>::try_from(text.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_uppercase) => Ok(Self(code)),
            _ => Err(format!("'{text}' is not a state; write two capital letters such as FL")),
        }
    }
}

impl From<State> for String {
    fn from(state: State) -> Self {
        state.to_string()
    }
}

impl State {
    /// Its two capital letters.
    pub(crate) fn letters(self) -> [u8; 2] {
        self.0
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).expect("two ASCII capitals"))
    }
}

/// A language: two small letters (ISO 639-1), such as `es`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(value_type = String, example = "es"))]
#[serde(try_from = "String", into = "String")]
pub struct Language([u8; 2]);

impl TryFrom<String> for Language {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match <[u8; 2]>::try_from(text.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_lowercase) => Ok(Self(code)),
            _ => Err(format!("'{text}' is not a language; write two small letters such as es")),
        }
    }
}

impl From<Language> for String {
    fn from(language: Language) -> Self {
        language.to_string()
    }
}

impl Language {
    /// Its two small letters.
    pub(crate) fn letters(self) -> [u8; 2] {
        self.0
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).expect("two ASCII small letters"))
    }
}

/// A five-digit ZIP code of the United States.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(value_type = String, example = "33101"))]
#[serde(try_from = "String", into = "String")]
pub struct Zip(u32);

impl TryFrom<String> for Zip {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits => Ok(Self(number)),
            _ => Err(format!("'{text}' is not a ZIP code; write five digits such as 33101")),
        }
    }
}

impl From<Zip> for String {
    fn from(zip: Zip) -> Self {
        zip.to_string()
    }
}

impl Zip {
    /// Its digits as a number, 0 to 99,999.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Zip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:05}", self.0)
    }
}
