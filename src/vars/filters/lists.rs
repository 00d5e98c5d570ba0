//! To come.
use super::Filter;
pub(super) const FILTERS: &[Filter] = &[];
pub(in crate::vars) fn sort_values(_: &mut [crate::value::Value], _: bool) -> crate::vars::template::live::Outcome<()> {
    Ok(())
}
