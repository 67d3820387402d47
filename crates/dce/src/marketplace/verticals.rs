//! What calls are about, and what they fetch. Prices are of the order that public offers of 2024 and 2025 name.

/// One vertical.
pub(super) struct Vertical {
    pub(super) name: &'static str,
    /// What buyers in it call themselves.
    pub(super) trade: &'static str,
    /// The lowest and highest price of a converted call, in whole dollars.
    pub(super) price: (i64, i64),
    /// How many of a hundred buyers are in it; and numbers.
    pub(super) weight: u32,
}

/// Weights add up to 100.
pub(super) const VERTICALS: [Vertical; 9] = [
    Vertical { name: "home_services", trade: "Home Services", price: (18, 65), weight: 20 },
    Vertical { name: "auto_insurance", trade: "Insurance", price: (12, 45), weight: 17 },
    Vertical { name: "medicare", trade: "Medicare Advisors", price: (28, 85), weight: 16 },
    Vertical { name: "roofing", trade: "Roofing", price: (45, 140), weight: 12 },
    Vertical { name: "debt_relief", trade: "Debt Relief", price: (25, 75), weight: 10 },
    Vertical { name: "legal", trade: "Injury Law", price: (120, 420), weight: 9 },
    Vertical { name: "solar", trade: "Solar", price: (30, 110), weight: 8 },
    Vertical { name: "tax_relief", trade: "Tax Resolution", price: (30, 90), weight: 6 },
    // Few buyers want these, so that some calls find none.
    Vertical { name: "water_damage", trade: "Restoration", price: (60, 160), weight: 2 },
];

/// The vertical that the `nth` of a hundred is in.
pub(super) fn nth_of_hundred(nth: u32) -> &'static Vertical {
    let mut left = nth % 100;
    for vertical in &VERTICALS {
        if left < vertical.weight {
            return vertical;
        }
        left -= vertical.weight;
    }
    &VERTICALS[0]
}
