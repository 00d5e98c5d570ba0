//! Filters of times, and `now()`.

use jiff::Zoned;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::value::Value;
use crate::vars::template::Evaluator;
use crate::vars::template::call::Arguments;
use crate::vars::template::live::{Live, Outcome, fail};
use crate::vars::template::moment::Moment;

use super::{Call, Filter, known, live};

pub(super) const FILTERS: &[Filter] = &[known("strftime", strftime), live("to_datetime", to_datetime)];

fn formatted(time: &Zoned, format: &str) -> Outcome<Value> {
    match jiff::fmt::strtime::format(format, time) {
        Ok(text) => Ok(Value::from(text)),
        Err(error) => fail(format!("`{format}` is no format of a time: {error}")),
    }
}

/// Returns the time now as a text.
pub(in crate::vars) fn now(utc: bool, format: &str) -> Outcome<Value> {
    let now = Zoned::now();
    let now = if utc { now.with_time_zone(TimeZone::UTC) } else { now };
    formatted(&now, format)
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

fn to_datetime(run: &Evaluator<'_>, subject: Live, mut arguments: Arguments) -> Outcome<Live> {
    let format = arguments.take(0, "format").map(|format| run.text(&format)).transpose()?;
    let format = format.unwrap_or_else(|| "%Y-%m-%d %H:%M:%S".to_owned());
    let Value::Str(text) = run.known(&subject)? else {
        return fail(format!("`to_datetime` takes a text, not {}", subject.type_name()));
    };
    let parsed = jiff::fmt::strtime::parse(&format, &*text);
    let time = parsed.and_then(|parsed| parsed.to_datetime().or_else(|_| parsed.to_date().map(DateTime::from)));
    match time {
        Ok(time) => Ok(Live::Moment(Moment::Time(time))),
        Err(error) => fail(format!("`{text}` does not fit the format `{format}`: {error}")),
    }
}
