//! Ids that a DELETE names. A DELETE without ids deletes everything at some of BigCommerce's endpoints, so that here it cannot
//! be written.

use std::fmt::{Display, Write as _};

use reqwest::Method;

use crate::http::Request;

/// Ids of what is to be deleted: at least one.
///
/// ```
/// use attune::connector::bigcommerce::{Ids, deletion};
///
/// assert_eq!(deletion(&Ids::new(5, [6, 7])).query, "id:in=5,6,7");
/// assert!(Ids::of(Vec::<u64>::new()).is_none(), "of nothing there are no ids");
/// ```
///
/// None can be made without an id, and nothing else is taken:
///
/// ```compile_fail
/// use attune::connector::bigcommerce::{Ids, deletion};
///
/// deletion(&Ids::default());
/// ```
///
/// ```compile_fail
/// use attune::connector::bigcommerce::{Ids, deletion};
///
/// deletion(&Ids(String::new()));
/// ```
///
/// ```compile_fail
/// use attune::connector::bigcommerce::{Ids, deletion};
///
/// deletion(&Ids::of(Vec::<u64>::new()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids(String);

impl Ids {
    /// One, and perhaps more.
    pub fn new<T: Display>(first: T, others: impl IntoIterator<Item = T>) -> Self {
        let mut joined = first.to_string();
        for other in others {
            let _ = write!(joined, ",{other}");
        }
        Self(joined)
    }

    /// These; none where there are none.
    pub fn of<T: Display>(ids: impl IntoIterator<Item = T>) -> Option<Self> {
        let mut ids = ids.into_iter();
        Some(Self::new(ids.next()?, ids))
    }
}

/// The one way to write a DELETE of a collection.
pub fn deletion(ids: &Ids) -> Request {
    Request::change(Method::DELETE, format!("id:in={}", ids.0), None)
}
