//! Host names as inventories write them: with a port, with ranges (`web[01:50]`, `db-[a:f]`).

/// The most hosts that one name may stand for.
pub(super) const MOST: usize = 65_536;

/// Returns the hosts that `name` stands for, and the port that it carries.
pub(super) fn expand(name: &str) -> Result<(Vec<String>, Option<u16>), String> {
    let (pattern, port) = split_port(name);
    let mut names = vec![String::new()];
    let mut rest = pattern;
    // An IPv6 address in brackets is no range.
    if let Some(address) = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'))
        && address.parse::<std::net::Ipv6Addr>().is_ok()
    {
        return Ok((vec![address.to_owned()], port));
    }
    while let Some(open) = rest.find('[') {
        let close = rest[open..].find(']').map(|close| open + close).ok_or_else(|| format!("the `[` in `{name}` is never closed"))?;
        let parts = range(&rest[open + 1..close])?;
        if names.len().saturating_mul(parts.len()) > MOST {
            return Err(format!("`{name}` stands for more than {MOST} hosts"));
        }
        names = names.iter().flat_map(|before| parts.iter().map(move |part| format!("{before}{}{part}", &rest[..open]))).collect();
        rest = &rest[close + 1..];
    }
    names.iter_mut().for_each(|name| name.push_str(rest));
    if names.iter().any(String::is_empty) {
        return Err("a host has no name".to_owned());
    }
    Ok((names, port))
}

/// Takes the port off `name:port` and `[address]:port`. An IPv6 address without brackets has none.
fn split_port(name: &str) -> (&str, Option<u16>) {
    let Some((before, after)) = name.rsplit_once(':') else { return (name, None) };
    let in_range = before.matches('[').count() != before.matches(']').count();
    let colons = before.split('[').next().is_some_and(|start| start.contains(':'));
    match after.parse() {
        Ok(port) if !in_range && !colons && !before.is_empty() => (before, Some(port)),
        _ => (name, None),
    }
}

/// Returns the parts of a range: `01:50`, `a:f`, `1:9:2`.
fn range(text: &str) -> Result<Vec<String>, String> {
    let wrong = |why: &str| format!("the range `[{text}]` {why}");
    let mut parts = text.split(':');
    let (Some(from), Some(to), step, None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(wrong("is not `[first:last]` or `[first:last:step]`"));
    };
    let from = if from.is_empty() { "0" } else { from };
    if to.is_empty() {
        return Err(wrong("has no end: a host range must specify end value"));
    }
    let step: usize = match step {
        Some(step) => step.parse().ok().filter(|step| *step > 0).ok_or_else(|| wrong("has a step that is not a whole number above 0"))?,
        None => 1,
    };
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits(from) && all_digits(to) {
        let (first, last): (u64, u64) = from.parse().and_then(|first| Ok((first, to.parse()?))).map_err(|_| wrong("is too large"))?;
        let width = if from.len() > 1 && from.starts_with('0') { from.len() } else { 0 };
        if width > 0 && width != to.len() {
            return Err(wrong("begins with zeros, so both ends need the same number of digits"));
        }
        if first > last {
            return Err(wrong("ends before it begins"));
        }
        if (last - first) / step as u64 >= MOST as u64 {
            return Err(wrong("is too large"));
        }
        return Ok((first..=last).step_by(step).map(|number| format!("{number:0width$}")).collect());
    }
    let letter = |text: &str| text.chars().next().filter(|c| c.is_ascii_alphabetic() && text.len() == 1);
    match (letter(from), letter(to)) {
        (Some(first), Some(last)) if first <= last && first.is_ascii_lowercase() == last.is_ascii_lowercase() => {
            Ok((first..=last).step_by(step).map(String::from).collect())
        }
        _ => Err(wrong("is neither of numbers nor of letters")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> String {
        match expand(text) {
            Ok((names, port)) => format!("{} {port:?}", names.join(" ")),
            Err(message) => message,
        }
    }

    #[test]
    fn ranges_and_ports_are_expanded() {
        assert_eq!(names("web[01:03].x:2222"), "web01.x web02.x web03.x Some(2222)");
        assert_eq!(names("d[a:c]"), "da db dc None");
        assert_eq!(names("d[1:5:2]-[a:b]"), "d1-a d1-b d3-a d3-b d5-a d5-b None");
        assert_eq!(names("d[:2]"), "d0 d1 d2 None");
        assert_eq!(names("d[8:11]"), "d8 d9 d10 d11 None");
        assert_eq!(names("2001:db8::1"), "2001:db8::1 None");
        assert_eq!(names("[2001:db8::1]:22"), "2001:db8::1 Some(22)");
        assert_eq!(names("host"), "host None");
    }

    #[test]
    fn ranges_that_make_no_sense_are_refused() {
        assert_eq!(names("a[3:1]"), "the range `[3:1]` ends before it begins");
        assert_eq!(names("a[01:100]"), "the range `[01:100]` begins with zeros, so both ends need the same number of digits");
        assert_eq!(names("a[1:2:0]"), "the range `[1:2:0]` has a step that is not a whole number above 0");
        assert_eq!(names("a[1:99999999999]"), "the range `[1:99999999999]` is too large");
        assert_eq!(names("a[1:50000][1:50000]"), "`a[1:50000][1:50000]` stands for more than 65536 hosts");
        assert_eq!(names("a[1:2"), "the `[` in `a[1:2` is never closed");
        assert_eq!(names("a[x]"), "the range `[x]` is not `[first:last]` or `[first:last:step]`");
    }
}
