//! `--window`, `--until` and `--reserve`: when a run may be at work.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use serde::{Deserialize, Serialize};

use crate::record::Folder;
use crate::record::timings::Timings;
use crate::run::window::{Window, span};
use crate::source::Diagnostic;

/// Flags that say when a run may be at work.
#[derive(Clone, Debug, Default, Args, Serialize, Deserialize)]
pub struct WindowFlags {
    /// Run only between these times, every day: `22:00-02:00`, or `22:00-02:00 Europe/Berlin`
    #[arg(long, value_name = "FROM-TO")]
    pub window: Option<String>,
    /// Be done by then: a time (`02:00`), or date and time (`2026-11-26 02:00`)
    #[arg(long, value_name = "TIME", conflicts_with = "window")]
    pub until: Option<String>,
    /// Keep so much time before the end of the window, such as `15m`
    #[arg(long, value_name = "TIME")]
    pub reserve: Option<String>,
}

impl WindowFlags {
    /// Takes what `other` says over what was said before.
    pub fn replace_by(&mut self, other: &Self) {
        if other.window.is_some() || other.until.is_some() {
            self.window.clone_from(&other.window);
            self.until.clone_from(&other.until);
        }
        if other.reserve.is_some() {
            self.reserve.clone_from(&other.reserve);
        }
    }

    /// Returns the window that is open now; `None` where none was asked for.
    ///
    /// # Errors
    /// The flags are wrong, or the window is not open.
    pub fn open(&self, playbooks: &[String]) -> Result<Option<Window>, Diagnostic> {
        let reserve = self.reserve.as_deref().map(duration).transpose()?.unwrap_or_default();
        let now = Zoned::now();
        let (opens, closes) = match (&self.window, &self.until) {
            (Some(window), _) => daily(window, &now)?,
            (None, Some(until)) => (now.clone(), moment(until, &now)?),
            (None, None) if self.reserve.is_some() => {
                return Err(Diagnostic::error("`--reserve` is kept before the end of a window, and there is none")
                    .hint("add `--window` or `--until`"));
            }
            (None, None) => return Ok(None),
        };
        let told = |time: &Zoned| time.strftime("%Y-%m-%d %H:%M %Z").to_string();
        if opens > now {
            let shut = Diagnostic::error(format!("the window is closed: it opens at {}", told(&opens)));
            return Err(shut.hint("run it then; a check can be run at any time"));
        }
        if closes <= now {
            return Err(Diagnostic::error(format!("the window is closed since {}", told(&closes))).hint("give a later `--until`"));
        }
        let timings = Folder::of_this_user().map(|folder| Timings::of(&folder, playbooks)).unwrap_or_default();
        Ok(Some(Window { closes: closes.timestamp(), reserve, timings: Arc::new(timings) }))
    }
}

/// Returns a line on when a window closes: a time of day may have been meant for today, and be tomorrow's.
pub(super) fn closing(window: &Window) -> String {
    told(window.closes, &Zoned::now())
}

fn told(closes: Timestamp, now: &Zoned) -> String {
    let left = span(closes.duration_since(now.timestamp()).as_secs_f64());
    format!("the window closes at {}, in {left}", closes.to_zoned(now.time_zone().clone()).strftime("%Y-%m-%d %H:%M %Z"))
}

/// Returns when the window that is open now, or the next one, opens and closes.
fn daily(text: &str, now: &Zoned) -> Result<(Zoned, Zoned), Diagnostic> {
    let wrong = || {
        Diagnostic::error(format!("`{text}` is no window"))
            .hint("write it as `22:00-02:00`, with a time zone after it where that is another than here: `22:00-02:00 Europe/Berlin`")
    };
    let (times, zone) = match text.trim().split_once(' ') {
        Some((times, zone)) => {
            (times, TimeZone::get(zone.trim()).map_err(|_| Diagnostic::error(format!("there is no time zone `{}`", zone.trim())))?)
        }
        None => (text.trim(), TimeZone::system()),
    };
    let (from, to) = times.split_once('-').ok_or_else(wrong)?;
    let (from, to) = (time(from).ok_or_else(wrong)?, time(to).ok_or_else(wrong)?);
    let now = now.with_time_zone(zone.clone());
    for day in [now.date().yesterday(), Ok(now.date()), now.date().tomorrow()] {
        let day = day.map_err(|_| wrong())?;
        let last = if to <= from { day.tomorrow().map_err(|_| wrong())? } else { day };
        let at = |day: jiff::civil::Date, time: Time| day.to_datetime(time).to_zoned(zone.clone()).map_err(|_| wrong());
        let (opens, closes) = (at(day, from)?, at(last, to)?);
        if closes > now {
            return Ok((opens, closes));
        }
    }
    Err(wrong())
}

/// Returns the moment that a text means: a time is the next such time.
fn moment(text: &str, now: &Zoned) -> Result<Zoned, Diagnostic> {
    let wrong =
        || Diagnostic::error(format!("`{text}` is no time")).hint("write `02:00`, `2026-11-26 02:00`, or `2026-11-26T02:00:00+01:00`");
    let text = text.trim();
    if let Some(time) = time(text) {
        let today = now.date().to_datetime(time).to_zoned(now.time_zone().clone()).map_err(|_| wrong())?;
        if today > *now {
            return Ok(today);
        }
        return now.date().tomorrow().and_then(|day| day.to_datetime(time).to_zoned(now.time_zone().clone())).map_err(|_| wrong());
    }
    if let Ok(zoned) = text.parse::<Zoned>() {
        return Ok(zoned);
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp.to_zoned(now.time_zone().clone()));
    }
    let civil = text.parse::<jiff::civil::DateTime>().or_else(|_| jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M", text));
    civil.and_then(|civil| civil.to_zoned(now.time_zone().clone())).map_err(|_| wrong())
}

fn time(text: &str) -> Option<Time> {
    let text = text.trim();
    Time::strptime("%H:%M", text).or_else(|_| Time::strptime("%H:%M:%S", text)).ok()
}

/// Returns a time span such as `15m`, `1h30m` or `90s`; a bare number is seconds.
///
/// # Errors
/// Names what is no time span.
pub fn duration(text: &str) -> Result<Duration, Diagnostic> {
    let text = text.trim();
    let parsed = match text.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => text.parse::<SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok()),
    };
    parsed.ok_or_else(|| Diagnostic::error(format!("`{text}` is no time span")).hint("write `15m`, `1h30m` or `90s`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Zoned {
        format!("2026-11-25T{text}:00[UTC]").parse().expect("time")
    }

    fn shown(window: &str, now: &str) -> String {
        let (opens, closes) = daily(&format!("{window} UTC"), &at(now)).expect("window");
        format!("{} {}", opens.strftime("%d %H:%M"), closes.strftime("%d %H:%M"))
    }

    #[test]
    fn a_window_may_go_past_midnight() {
        assert_eq!(shown("22:00-02:00", "23:10"), "25 22:00 26 02:00");
        assert_eq!(shown("22:00-02:00", "01:10"), "24 22:00 25 02:00");
        assert_eq!(shown("22:00-02:00", "12:00"), "25 22:00 26 02:00");
        assert_eq!(shown("02:00-04:00", "05:00"), "26 02:00 26 04:00");
    }

    #[test]
    fn it_is_told_on_which_day_a_window_closes() {
        let closes = moment("05:00", &at("05:01")).expect("time").timestamp();
        assert_eq!(told(closes, &at("05:01")), "the window closes at 2026-11-26 05:00 UTC, in 23 h 59 min");
    }

    #[test]
    fn a_window_has_the_time_zone_that_is_asked_for() {
        let (opens, _) = daily("22:00-02:00 Asia/Tokyo", &at("12:00")).expect("window");
        assert_eq!(opens.timestamp().to_string(), "2026-11-25T13:00:00Z");
        assert!(daily("22:00-02:00 Atlantis", &at("12:00")).is_err());
        assert!(daily("tonight", &at("12:00")).is_err());
    }

    #[test]
    fn a_bare_time_is_the_next_such_time() {
        assert_eq!(moment("02:00", &at("23:00")).expect("time").timestamp().to_string(), "2026-11-26T02:00:00Z");
        assert_eq!(moment("2026-11-27 02:00", &at("23:00")).expect("time").timestamp().to_string(), "2026-11-27T02:00:00Z");
        assert!(moment("soon", &at("23:00")).is_err());
    }

    #[test]
    fn spans_are_written_short() {
        assert_eq!(duration("15m").expect("span"), Duration::from_secs(900));
        assert_eq!(duration("90").expect("span"), Duration::from_secs(90));
        assert!(duration("a while").is_err());
    }
}
