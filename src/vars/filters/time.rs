//! To come.
use super::Filter;
pub(super) const FILTERS: &[Filter] = &[];
pub(in crate::vars) fn now(_: bool, _: Option<&str>) -> crate::vars::template::live::Outcome<crate::value::Value> {
    Ok(crate::value::Value::Null)
}
