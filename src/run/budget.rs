//! `serial` and `max_fail_percentage`: how many hosts at a time, and how many may fail.

use crate::value::Value;

/// Returns the sizes of the batches for `total` hosts, from `serial`: a number, a share (`30%`), or a list of them of
/// which the last is repeated. Zero or less means all at once.
///
/// # Errors
/// Says what is no size.
pub fn batches(serial: &Value, total: usize) -> Result<Vec<usize>, String> {
    let single;
    let sizes = match serial {
        Value::Null => return Ok(whole(total)),
        Value::List(items) => items.as_slice(),
        other => {
            single = [other.clone()];
            &single[..]
        }
    };
    if sizes.is_empty() || total == 0 {
        return Ok(whole(total));
    }
    let mut left = total;
    let mut batches = Vec::new();
    let mut sizes = sizes.iter().peekable();
    while left > 0 {
        let value = if sizes.len() > 1 { sizes.next() } else { sizes.peek().copied() };
        let size = size(value.unwrap_or(&Value::Null), total)?;
        if size == 0 {
            batches.push(left);
            break;
        }
        batches.push(size.min(left));
        left -= size.min(left);
    }
    Ok(batches)
}

fn whole(total: usize) -> Vec<usize> {
    if total == 0 { Vec::new() } else { vec![total] }
}

/// Returns how many of `total` hosts a number or share means; a share is at least one host.
///
/// # Errors
/// Says what is no size.
pub fn size(value: &Value, total: usize) -> Result<usize, String> {
    let wrong = || format!("`{value}` is neither a number of hosts nor a share such as `30%`");
    let text = match value {
        Value::Int(number) => return Ok(usize::try_from(*number).unwrap_or(0)),
        Value::Str(text) => text.trim(),
        _ => return Err(wrong()),
    };
    match text.strip_suffix('%') {
        Some(share) => {
            let share: f64 = share.trim().parse().map_err(|_| wrong())?;
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let hosts = (total as f64 * share / 100.0) as usize;
            Ok(hosts.max(1))
        }
        None => text.parse::<i64>().map(|number| usize::try_from(number).unwrap_or(0)).map_err(|_| wrong()),
    }
}

/// Whether more than `allowed` percent of `batch` hosts have failed.
pub fn is_spent(failed: usize, batch: usize, allowed: f64) -> bool {
    #[allow(clippy::cast_precision_loss)]
    let share = if batch == 0 { 0.0 } else { failed as f64 * 100.0 / batch as f64 };
    share > allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_follow_the_list_and_repeat_its_last() {
        let sizes = |value: Value, total| batches(&value, total).expect("sizes");
        assert_eq!(sizes(Value::Int(2), 5), [2, 2, 1]);
        assert_eq!(sizes(Value::from(vec![1, 2]), 6), [1, 2, 2, 1]);
        assert_eq!(sizes(Value::str("30%"), 10), [3, 3, 3, 1]);
        assert_eq!(sizes(Value::str("1%"), 3), [1, 1, 1]);
        assert_eq!(sizes(Value::Int(0), 3), [3]);
        assert_eq!(sizes(Value::Null, 3), [3]);
        assert!(batches(&Value::str("some"), 3).is_err());
    }

    #[test]
    fn the_budget_is_spent_only_when_it_is_exceeded() {
        assert!(!is_spent(1, 4, 25.0));
        assert!(is_spent(2, 4, 25.0));
        assert!(is_spent(1, 4, 0.0));
        assert!(!is_spent(0, 4, 0.0));
    }
}
