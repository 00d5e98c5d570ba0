//! Times and spans of time in a running template: what `to_datetime` and `now()` give, and their difference.
//! Outside of the template they are texts.

use std::cmp::Ordering;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Zoned, tz::TimeZone};

use crate::value::Value;

use super::Evaluator;
use super::ast::Binary;
use super::call::Arguments;
use super::live::{Live, Outcome, fail};

/// A time, or a span between two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::vars) enum Moment {
    Time(DateTime),
    Span(SignedDuration),
}

pub(super) const OF_TIME: &[&str] =
    &["strftime", "isoformat", "timestamp", "weekday", "isoweekday", "date", "time", "ctime", "total_seconds", "replace"];

const MICROS_A_DAY: i128 = 86_400_000_000;

impl Moment {
    pub(in crate::vars) fn type_name(self) -> &'static str {
        match self {
            Self::Time(_) => "datetime",
            Self::Span(_) => "timedelta",
        }
    }

    /// Returns the time that a text tells, where it is asked for something that only times have.
    pub(super) fn written_as(text: &str, wanted: &str) -> Option<Self> {
        let begins_with_year = text.get(..5).is_some_and(|start| start.ends_with('-') && start[..4].bytes().all(|b| b.is_ascii_digit()));
        let moment = Self::Time(text.parse::<DateTime>().ok().filter(|_| begins_with_year)?);
        (wanted != "replace" && (moment.has_method(wanted) || moment.attribute(wanted).is_some())).then_some(moment)
    }

    /// Writes it as Python's `str`.
    pub(in crate::vars) fn text(self) -> String {
        match self {
            Self::Time(time) => written(time, ' '),
            Self::Span(span) => {
                let (days, micros) = days_and_micros(span);
                let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
                let clock = format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
                let fraction = if fraction == 0 { String::new() } else { format!(".{fraction:06}") };
                match days {
                    0 => format!("{clock}{fraction}"),
                    1 | -1 => format!("{days} day, {clock}{fraction}"),
                    _ => format!("{days} days, {clock}{fraction}"),
                }
            }
        }
    }

    /// Returns an attribute such as `year` or `days`.
    pub(super) fn attribute(self, name: &str) -> Option<Value> {
        let number = match (self, name) {
            (Self::Time(time), "year") => time.year().into(),
            (Self::Time(time), "month") => time.month().into(),
            (Self::Time(time), "day") => time.day().into(),
            (Self::Time(time), "hour") => time.hour().into(),
            (Self::Time(time), "minute") => time.minute().into(),
            (Self::Time(time), "second") => time.second().into(),
            (Self::Time(time), "microsecond") => i64::from(time.subsec_nanosecond() / 1000),
            (Self::Time(_), "tzinfo") => return Some(Value::Null),
            (Self::Span(span), "days") => i64::try_from(days_and_micros(span).0).ok()?,
            (Self::Span(span), "seconds") => i64::try_from(days_and_micros(span).1 / 1_000_000).ok()?,
            (Self::Span(span), "microseconds") => i64::try_from(days_and_micros(span).1 % 1_000_000).ok()?,
            _ => return None,
        };
        Some(Value::Int(number))
    }

    pub(super) fn has_method(self, name: &str) -> bool {
        match self {
            Self::Time(_) => OF_TIME.contains(&name) && name != "total_seconds",
            Self::Span(_) => name == "total_seconds",
        }
    }

    pub(super) fn call(self, run: &Evaluator<'_>, name: &str, mut arguments: Arguments) -> Outcome<Live> {
        let time = match self {
            Self::Span(span) => return Ok(Value::Float(span.as_secs_f64()).into()),
            Self::Time(time) => time,
        };
        match name {
            "strftime" => {
                let Some(format) = arguments.take(0, "format") else { return fail("`strftime` takes a format") };
                let format = run.text(&format)?;
                match jiff::fmt::strtime::format(&format, time) {
                    Ok(text) => Ok(Live::str(text)),
                    Err(error) => fail(format!("`{format}` is no format of a time: {error}")),
                }
            }
            "isoformat" => Ok(Live::str(written(time, 'T'))),
            "ctime" => Ok(Live::str(time.strftime("%a %b %e %H:%M:%S %Y").to_string())),
            "date" => Ok(Live::str(time.date().to_string())),
            "time" => Ok(Live::str(written(time, ' ').split_off("YYYY-MM-DD ".len()))),
            "weekday" => Ok(Value::Int(time.weekday().to_monday_zero_offset().into()).into()),
            "isoweekday" => Ok(Value::Int(time.weekday().to_monday_one_offset().into()).into()),
            "timestamp" => match time.to_zoned(TimeZone::system()) {
                Ok(zoned) => Ok(Value::Float(zoned.timestamp().as_duration().as_secs_f64()).into()),
                Err(error) => fail(format!("this time has no timestamp: {error}")),
            },
            _ => fail(format!("the method `{name}` of a datetime is not supported")),
        }
    }
}

/// A span of time as whole days, which may be negative, and the rest of a day.
fn days_and_micros(span: SignedDuration) -> (i128, i128) {
    let micros = span.as_micros();
    (micros.div_euclid(MICROS_A_DAY), micros.rem_euclid(MICROS_A_DAY))
}

fn written(time: DateTime, between: char) -> String {
    let text = time.strftime("%Y-%m-%d@%H:%M:%S").to_string().replace('@', &between.to_string());
    match time.subsec_nanosecond() / 1000 {
        0 => text,
        micros => format!("{text}.{micros:06}"),
    }
}

/// Returns the time now, without a zone, as Python's `datetime.now()`.
pub(super) fn now(utc: bool) -> Moment {
    let now = Zoned::now();
    Moment::Time(if utc { now.with_time_zone(TimeZone::UTC) } else { now }.datetime())
}

/// Evaluates `+` and `-` of times and spans; `None` where neither side is one.
pub(super) fn binary(op: Binary, left: &Live, right: &Live) -> Option<Outcome<Live>> {
    let (Live::Moment(a), Live::Moment(b)) = (left, right) else {
        let one = matches!(left, Live::Moment(_)) || matches!(right, Live::Moment(_));
        return one.then(|| fail(format!("{} and {} cannot be computed with", left.type_name(), right.type_name())));
    };
    let far = || fail("the time is too far away");
    let moved =
        |time: DateTime, span: SignedDuration| time.checked_add(span).map_or_else(|_| far(), |time| Ok(Live::Moment(Moment::Time(time))));
    Some(match (op, *a, *b) {
        (Binary::Subtract, Moment::Time(a), Moment::Time(b)) => Ok(Live::Moment(Moment::Span(a.duration_since(b)))),
        (Binary::Subtract, Moment::Time(time), Moment::Span(span)) => moved(time, -span),
        (Binary::Add, Moment::Time(time), Moment::Span(span)) | (Binary::Add, Moment::Span(span), Moment::Time(time)) => moved(time, span),
        (Binary::Add, Moment::Span(a), Moment::Span(b)) => a.checked_add(b).map_or_else(far, |span| Ok(Live::Moment(Moment::Span(span)))),
        (Binary::Subtract, Moment::Span(a), Moment::Span(b)) => {
            a.checked_sub(b).map_or_else(far, |span| Ok(Live::Moment(Moment::Span(span))))
        }
        _ => fail(format!("{} and {} cannot be computed with so", a.type_name(), b.type_name())),
    })
}

/// Returns the order of two times or two spans.
pub(super) fn order(left: &Live, right: &Live) -> Option<Ordering> {
    match (left, right) {
        (Live::Moment(Moment::Time(a)), Live::Moment(Moment::Time(b))) => Some(a.cmp(b)),
        (Live::Moment(Moment::Span(a)), Live::Moment(Moment::Span(b))) => Some(a.cmp(b)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::vars::suite::shown;

    #[test]
    fn times_can_be_compared_and_subtracted() {
        let vars = r#"{"a": "{{ '2020-01-02 00:00:10' | to_datetime }}", "b": "{{ '2020-01-01' | to_datetime('%Y-%m-%d') }}", "c": "2020-03-01T12:42:43"}"#;
        let cases = [
            ("{{ a }}", "'2020-01-02 00:00:10'"),
            ("{{ (a - b).days }}", "1"),
            ("{{ (a - b).total_seconds() }}", "86410.0"),
            ("{{ (a - b).seconds }}", "10"),
            ("{{ (b - a) }}", "'-2 days, 23:59:50'"),
            ("{{ a > b }}", "True"),
            ("{{ a.year }} {{ a.strftime('%d/%m') }} {{ a.isoformat() }}", "'2020 02/01 2020-01-02T00:00:10'"),
            ("{{ (a - (a - b)) == b }}", "True"),
            ("{{ a | type_debug }}", "'datetime'"),
            ("{{ now() > a }}", "True"),
            ("{{ (now() - a).days > 1000 }}", "True"),
            ("{{ now().year > 2020 }}", "True"),
            ("x{{ a }}", "'x2020-01-02 00:00:10'"),
            ("{{ c.time() }} {{ c.year }} {{ c.strftime('%H:%M') }} {{ c.date() }}", "'12:42:43 2020 12:42 2020-03-01'"),
            ("{{ 'x'.year is defined }} {{ '2020'.year is defined }}", "'False False'"),
        ];
        for (template, wanted) in cases {
            assert_eq!(shown(template, vars), wanted, "{template}");
        }
        assert!(shown("{{ a - 1 }}", vars).starts_with("ERR datetime and int"));
        assert!(shown("{{ a | list }}", vars).starts_with("ERR a datetime cannot be looped over"));
    }
}
