//! Host names folded: `web01 web02 web03 db1` is `db1 web[01:03]`.

use std::collections::BTreeMap;

/// Returns names as one text, runs of numbers folded. The order is that of the alphabet, numbers by value.
pub fn hosts<T: AsRef<str>>(names: &[T]) -> String {
    let mut groups: BTreeMap<(&str, &str, usize), Vec<u64>> = BTreeMap::new();
    let mut plain: Vec<&str> = Vec::new();
    let all: Vec<_> = names.iter().filter_map(|name| parts(name.as_ref())).collect();
    // `web10` belongs to `web[01:12]` where a `web01` shows how wide the numbers are.
    let width = |head: &str, digits: &str, tail: &str| {
        let padded = |(other, digits_of, rest): &(&str, &str, &str)| {
            *other == head && *rest == tail && digits_of.len() == digits.len() && is_padded(digits_of)
        };
        if all.iter().any(padded) { digits.len() } else { 0 }
    };
    for name in names.iter().map(AsRef::as_ref) {
        match parts(name) {
            Some((head, digits, tail)) => match digits.parse() {
                Ok(number) => groups.entry((head, tail, width(head, digits, tail))).or_default().push(number),
                Err(_) => plain.push(name),
            },
            None => plain.push(name),
        }
    }
    let mut folded: Vec<String> = plain.into_iter().map(str::to_owned).collect();
    for ((head, tail, width), mut numbers) in groups {
        numbers.sort_unstable();
        numbers.dedup();
        for (first, last) in runs(&numbers) {
            folded.push(match (first, last) {
                (first, last) if first == last => format!("{head}{first:0width$}{tail}"),
                (first, last) => format!("{head}[{first:0width$}:{last:0width$}]{tail}"),
            });
        }
    }
    folded.sort_by_cached_key(|name| name.replace('[', ""));
    folded.join(" ")
}

/// Whether a number has leading zeros.
fn is_padded(digits: &str) -> bool {
    digits.starts_with('0') && digits.len() > 1
}

/// Returns what is before the last number in the first label, the number, and the rest.
fn parts(name: &str) -> Option<(&str, &str, &str)> {
    // An address is no numbered name.
    if name.chars().all(|c| c.is_ascii_digit() || c == '.' || c == ':') {
        return None;
    }
    let label = name.split('.').next()?;
    let end = label.rfind(|c: char| c.is_ascii_digit())? + 1;
    let start = label.get(..end)?.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| at + 1);
    Some((name.get(..start)?, name.get(start..end)?, name.get(end..)?))
}

fn runs(numbers: &[u64]) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for &number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    // Two in a row are easier to read apart.
    runs.into_iter()
        .flat_map(|(first, last)| if last == first + 1 { vec![(first, first), (last, last)] } else { vec![(first, last)] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::hosts;

    #[test]
    fn runs_of_numbers_are_folded() {
        assert_eq!(hosts(&["web03", "web01", "web02", "db1", "db2", "mail"]), "db1 db2 mail web[01:03]");
        assert_eq!(hosts(&["n1.x.net", "n2.x.net", "n3.x.net"]), "n[1:3].x.net");
        assert_eq!(hosts(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]), "10.0.0.1 10.0.0.2 10.0.0.3");
        assert_eq!(hosts(&["web9", "web10", "web11"]), "web[9:11]");
        assert_eq!(hosts(&["web08", "web09", "web10", "web11"]), "web[08:11]");
    }
}
