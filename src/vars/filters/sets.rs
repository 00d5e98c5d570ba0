//! To come.
use super::Filter;
pub(super) const FILTERS: &[Filter] = &[];
