//! Random choices. A seed makes those that Python makes of it, so that what a playbook fixes by one (the minute of a cron job)
//! stays as Ansible had it.

use rand_mt::Mt;
use sha2::{Digest as _, Sha512};

use crate::value::Value;

/// A stream of numbers that a seed fixes, or that nobody can foresee.
pub(in crate::vars) enum Dice {
    Seeded(Box<Mt>),
    Unforeseen,
}

impl Dice {
    pub(in crate::vars) fn new(seed: Option<&Value>) -> Self {
        match seed {
            None | Some(Value::Null) => Self::Unforeseen,
            Some(Value::Int(number)) => Self::of(words(number.unsigned_abs().to_be_bytes().to_vec())),
            Some(Value::Bool(yes)) => Self::of(vec![u32::from(*yes)]),
            // A text counts as the number that its bytes and their hash make.
            Some(other) => {
                let mut bytes = other.to_string().into_bytes();
                bytes.extend(Sha512::digest(&bytes));
                Self::of(words(bytes))
            }
        }
    }

    fn of(key: Vec<u32>) -> Self {
        Self::Seeded(Box::new(Mt::new_with_key(key)))
    }

    /// Returns a number below `limit`, or 0 where that is 0.
    pub(in crate::vars) fn below(&mut self, limit: u64) -> u64 {
        match self {
            _ if limit == 0 => 0,
            Self::Unforeseen => rand::random_range(0..limit),
            Self::Seeded(numbers) => {
                let bits = u64::BITS - limit.leading_zeros();
                loop {
                    let mut drawn = u64::from(numbers.next_u32() >> (32 - bits.min(32)));
                    if bits > 32 {
                        drawn |= u64::from(numbers.next_u32() >> (64 - bits)) << 32;
                    }
                    if drawn < limit {
                        return drawn;
                    }
                }
            }
        }
    }

    /// Returns a place in a list of so many.
    pub(in crate::vars) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// Returns one of the items, if there are any.
    pub(in crate::vars) fn pick<'i, T>(&mut self, items: &'i [T]) -> Option<&'i T> {
        items.get(self.index(items.len()))
    }
}

/// Returns a number's words of 32 bits, the lowest first, without zeros at its head.
fn words(mut bytes: Vec<u8>) -> Vec<u32> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.drain(..zeros);
    bytes.reverse();
    let words: Vec<u32> = bytes.chunks(4).map(|word| word.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte))).collect();
    if words.is_empty() { vec![0] } else { words }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_what_python_makes_of_it() {
        let below = |seed: Value, limit: u64| Dice::new(Some(&seed)).below(limit);
        // random.Random("abc").randrange(59) and so on, with Python 3.11.
        assert_eq!(below(Value::str("abc"), 59), 49);
        assert_eq!(below(Value::str("q"), 99_999_999_999), 5_401_654_534);
        assert_eq!(below(Value::Int(5), 142_857) * 7 + 3, 468_744);
        let mut numbers = [1, 2, 3, 4, 5];
        let mut dice = Dice::new(Some(&Value::str("x")));
        for at in (1..numbers.len()).rev() {
            numbers.swap(at, dice.index(at + 1));
        }
        assert_eq!(numbers, [5, 2, 1, 4, 3]);
        assert_eq!(Dice::new(Some(&Value::str("host1"))).pick(&["a", "b", "c"]), Some(&"b"));
    }
}
