//! Filters that take lists for sets.

use crate::value::Value;
use crate::vars::template::live::{Outcome, fail};

use super::{Call, Filter, items_of, known};

pub(super) const FILTERS: &[Filter] = &[
    known("union", |call| {
        let (own, other) = both(call)?;
        Ok(distinct(own.into_iter().chain(other)))
    }),
    known("intersect", |call| {
        let (own, other) = both(call)?;
        Ok(distinct(own.into_iter().filter(|item| other.contains(item))))
    }),
    known("difference", |call| {
        let (own, other) = both(call)?;
        Ok(distinct(own.into_iter().filter(|item| !other.contains(item))))
    }),
    known("symmetric_difference", |call| {
        let (own, other) = both(call)?;
        let left: Vec<_> = own.iter().filter(|item| !other.contains(item)).cloned().collect();
        Ok(distinct(left.into_iter().chain(other.iter().filter(|item| !own.contains(item)).cloned())))
    }),
];

fn both(call: &mut Call<'_, '_>) -> Outcome<(Vec<Value>, Vec<Value>)> {
    let other = call.needed(0, "b")?;
    let own = call.items()?;
    items_of(&other)
        .map_or_else(|| fail(format!("the filter `{}` takes a list, not {}", call.name, other.type_name())), |other| Ok((own, other)))
}

fn distinct(items: impl IntoIterator<Item = Value>) -> Value {
    let mut out: Vec<Value> = Vec::new();
    for item in items {
        if !out.contains(&item) {
            out.push(item);
        }
    }
    Value::list(out)
}
