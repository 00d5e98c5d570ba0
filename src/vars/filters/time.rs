//! Filters of times, and `now()`.

use jiff::Zoned;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::value::Value;
use crate::vars::template::live::{Outcome, fail};

use super::{Call, Filter, known};

pub(super) const FILTERS: &[Filter] = &[known("strftime", strftime), known("to_datetime", to_datetime)];

fn formatted(time: &Zoned, format: &str) -> Outcome<Value> {
    match jiff::fmt::strtime::format(format, time) {
        Ok(text) => Ok(Value::from(text)),
        Err(error) => fail(format!("`{format}` is no format of a time: {error}")),
    }
}

/// Returns the time now, as text: a template has no other use of it.
pub(in crate::vars) fn now(utc: bool, format: Option<&str>) -> Outcome<Value> {
    let now = Zoned::now();
    let now = if utc { now.with_time_zone(TimeZone::UTC) } else { now };
    formatted(&now, format.unwrap_or("%Y-%m-%d %H:%M:%S.%6f"))
}

fn strftime(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let second = call.argument(0, "second").filter(|second| !second.is_null());
    let utc = call.flag(1, "utc", false)?;
    let format = call.subject_text()?;
    let zone = if utc { TimeZone::UTC } else { TimeZone::system() };
    let time = match second {
        None => Zoned::now().with_time_zone(zone),
        Some(second) => {
            let number = second.number().map(crate::value::Number::float).or_else(|| second.to_string().trim().parse().ok());
            #[allow(clippy::cast_possible_truncation)]
            let stamp = number.and_then(|number| jiff::Timestamp::from_microsecond((number * 1e6) as i64).ok());
            match stamp {
                Some(stamp) => stamp.to_zoned(zone),
                None => return fail(format!("`strftime` takes seconds since 1970, not `{second}`")),
            }
        }
    };
    formatted(&time, &format)
}

/// Returns the text of a time in the form that sorts and compares; what Python's `datetime` prints.
fn to_datetime(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let format = call.text_or(0, "format", "%Y-%m-%d %H:%M:%S")?;
    let text = call.subject_text()?;
    let parsed = jiff::fmt::strtime::parse(&format, &text);
    let time = parsed.and_then(|parsed| parsed.to_datetime().or_else(|_| parsed.to_date().map(DateTime::from)));
    match time {
        Ok(time) => Ok(Value::from(time.strftime("%Y-%m-%d %H:%M:%S").to_string())),
        Err(error) => fail(format!("`{text}` does not fit the format `{format}`: {error}")),
    }
}
