//! To come.
use super::Filter;
use crate::vars::template::live::{Outcome, fail};
pub(super) const FILTERS: &[Filter] = &[];
pub(in crate::vars) fn compiled(pattern: &str, ignorecase: bool, multiline: bool, dotall: bool) -> Outcome<fancy_regex::Regex> {
    let _ = (ignorecase, multiline, dotall);
    fancy_regex::Regex::new(pattern).or_else(|error| fail(format!("`{pattern}` is no pattern: {error}")))
}
