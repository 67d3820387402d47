//! Pages: a listing is read by key, not by offset, so that a page costs the same however deep it is.

use super::StoreError;

/// The most items on one page.
pub const MAX_PAGE: u32 = 200;

/// Which part of a listing is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The `next` of the previous page; absent for the first.
    pub after: Option<String>,
    /// How many items; 1 to [`MAX_PAGE`], anything else is brought into that range.
    pub limit: u32,
}

impl Default for Page {
    fn default() -> Self {
        Self { after: None, limit: 50 }
    }
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing<T> {
    /// The items, in the listing's order.
    pub items: Vec<T>,
    /// What to pass as `after` for the next page; absent on the last.
    pub next: Option<String>,
}

impl Page {
    /// The first page, of this many items.
    pub fn first(limit: u32) -> Self {
        Self { after: None, limit }
    }

    /// The page that follows, if there is one.
    #[must_use]
    pub fn following<T>(&self, listing: &Listing<T>) -> Option<Self> {
        listing.next.clone().map(|after| Self { after: Some(after), limit: self.limit })
    }

    fn limit(&self) -> usize {
        self.limit.clamp(1, MAX_PAGE) as usize
    }

    /// One row more than the page holds tells whether another page follows.
    pub(super) fn rows(&self) -> i64 {
        i64::from(self.limit.clamp(1, MAX_PAGE)) + 1
    }

    /// Reads the cursor with `read`; a text it does not take is a [`StoreError::BadCursor`].
    pub(super) fn cursor<K>(&self, read: impl FnOnce(&str) -> Option<K>) -> Result<Option<K>, StoreError> {
        let Some(after) = &self.after else { return Ok(None) };
        read(after).map(Some).ok_or_else(|| StoreError::BadCursor { cursor: after.clone() })
    }

    /// Cuts rows asked for with [`Page::rows`] down to the page.
    pub(super) fn listing<T>(&self, mut items: Vec<T>, cursor: impl FnOnce(&T) -> String) -> Listing<T> {
        let more = items.len() > self.limit();
        items.truncate(self.limit());
        let next = if more { items.last().map(cursor) } else { None };
        Listing { items, next }
    }
}
