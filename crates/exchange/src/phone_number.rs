//! Telephone numbers and caller ids.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// An E.164 number: 7 to 15 digits, kept as an integer. Printed with a leading `+`.
///
/// Source: ITU-T E.164 section 6.2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(value_type = String, example = "+12125550123"))]
pub struct PhoneNumber(u64);

/// Why a text is not a telephone number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PhoneNumberError {
    /// Something other than digits and the usual separators.
    #[error("has '{0}', which is not a digit; write the number as +12125550123")]
    NotADigit(char),
    /// Not 7 to 15 digits.
    #[error("has {0} digits; write 7 to 15, such as +12125550123")]
    Length(usize),
    /// A North American number whose area code or exchange begins with 0 or 1.
    #[error("is not a dialable North American number; begin area code and exchange with 2 to 9")]
    NotDialable,
}

impl PhoneNumber {
    /// The digits as an integer, country code first.
    pub fn digits(self) -> u64 {
        self.0
    }

    /// The three-digit area code of a North American (+1) number.
    pub fn area_code(self) -> Option<u16> {
        (self.0 / 10_000_000_000 == 1).then(|| u16::try_from(self.0 / 10_000_000 % 1_000).unwrap_or(0))
    }

    /// The number with all but its area code and last two digits hidden: fit for logs.
    pub fn masked(self) -> String {
        let text = self.to_string();
        let keep_front = if self.area_code().is_some() { 5 } else { 3 };
        let (front, rest) = text.split_at(keep_front.min(text.len()));
        let hidden = rest.len().saturating_sub(2);
        format!("{front}{}{}", "*".repeat(hidden), &rest[hidden..])
    }
}

impl FromStr for PhoneNumber {
    type Err = PhoneNumberError;

    /// Accepts `+12125550123`, `12125550123`, `2125550123` (taken as North American) and the separators
    /// space, dot, dash and parentheses.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut digits: u64 = 0;
        let mut count = 0;
        let international = text.trim_start().starts_with('+');
        for (position, character) in text.trim().chars().enumerate() {
            match character {
                '+' if position == 0 => {}
                ' ' | '.' | '-' | '(' | ')' => {}
                _ => {
                    let digit = character.to_digit(10).ok_or(PhoneNumberError::NotADigit(character))?;
                    count += 1;
                    if count > 15 {
                        return Err(PhoneNumberError::Length(count));
                    }
                    digits = digits * 10 + u64::from(digit);
                }
            }
        }
        if count < 7 {
            return Err(PhoneNumberError::Length(count));
        }
        if count == 10 && !international {
            digits += 10_000_000_000;
            count = 11;
        }
        let leading_zero = digits < 10u64.pow(u32::try_from(count).unwrap_or(0) - 1);
        let north_american = count == 11 && digits / 10_000_000_000 == 1;
        let undialable_nanp =
            north_american && (digits / 1_000_000_000 % 10 < 2 || digits / 1_000_000 % 10 < 2);
        if leading_zero || undialable_nanp || (digits / 10_000_000_000 == 1 && count != 11) {
            return Err(PhoneNumberError::NotDialable);
        }
        Ok(Self(digits))
    }
}

impl fmt::Display for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.0)
    }
}

/// Debug output reaches logs, so it is masked.
impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl Serialize for PhoneNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PhoneNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Who the caller says it is: the user part of `P-Asserted-Identity` or `From`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CallerId {
    /// A well-formed number.
    Number(PhoneNumber),
    /// Withheld: `anonymous`, `Privacy: id`, or no user part at all.
    Anonymous,
    /// Present but not a telephone number. The text is not kept: it may be anything.
    Malformed,
}

impl CallerId {
    /// Reads a SIP user part.
    pub fn from_user_part(user: &str) -> Self {
        let user = user.trim();
        if user.is_empty()
            || ["anonymous", "unavailable", "unknown", "restricted", "private"]
                .iter()
                .any(|word| user.eq_ignore_ascii_case(word))
        {
            return Self::Anonymous;
        }
        user.parse().map_or(Self::Malformed, Self::Number)
    }

    /// The number, when there is one.
    pub fn number(&self) -> Option<PhoneNumber> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Anonymous | Self::Malformed => None,
        }
    }
}
