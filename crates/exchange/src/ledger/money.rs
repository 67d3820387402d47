//! Money: whole micro-units of one currency, never a float.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Micro-units in one unit of currency: 1.00 USD is 1,000,000.
pub const MICROS_PER_UNIT: i64 = 1_000_000;

/// An amount in micro-units of the account's currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Micros(pub i64);

impl Micros {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Whole units: `Micros::units(25)` is 25.00.
    pub const fn units(units: i64) -> Self {
        Self(units * MICROS_PER_UNIT)
    }

    /// Sum, or `None` past the range of an `i64`.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// Difference, or `None` past the range of an `i64`.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// `self * basis_points / 10_000`, rounded towards zero. More than 10,000 counts as the whole.
    #[must_use]
    pub fn share(self, basis_points: u16) -> Self {
        let share = i128::from(self.0) * i128::from(basis_points.min(10_000)) / 10_000;
        Self(i64::try_from(share).expect("a share of an i64 fits an i64"))
    }
}

impl fmt::Display for Micros {
    /// `12.34`, with more decimals only where they are needed: `0.0125`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        let unit = MICROS_PER_UNIT.unsigned_abs();
        let decimals = format!("{:06}", magnitude % unit);
        let shown = decimals.trim_end_matches('0');
        f.pad(&format!("{sign}{}.{shown:0<2}", magnitude / unit))
    }
}

/// Why a text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an amount; write it as 12.34 with at most six decimals")]
pub struct AmountError(String);

impl FromStr for Micros {
    type Err = AmountError;

    /// Reads `12`, `12.34`, `-0.000001`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || AmountError(text.to_owned());
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
        let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !all_digits(whole) || !all_digits(decimals) || decimals.len() > 6 {
            return Err(error());
        }
        let whole: i64 = whole.parse().map_err(|_| error())?;
        let decimals: i64 = format!("{decimals:0<6}").parse().map_err(|_| error())?;
        let magnitude = whole.checked_mul(MICROS_PER_UNIT).and_then(|micros| micros.checked_add(decimals));
        let magnitude = magnitude.ok_or_else(error)?;
        Ok(Self(if negative { -magnitude } else { magnitude }))
    }
}

/// An ISO 4217 currency code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(value_type = String, example = "USD"))]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    /// United States dollar.
    pub const USD: Self = Self(*b"USD");
}

impl TryFrom<String> for Currency {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_uppercase) => Ok(Self(code)),
            _ => Err(format!("'{text}' is not a currency; write three capital letters such as USD")),
        }
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.to_string()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).expect("three ASCII capitals"))
    }
}
