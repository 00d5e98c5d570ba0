//! Tests: what stands after `is`. One table a file, by theme.

use crate::source::Diagnostic;
use crate::value::Value;
use crate::vars::template::Evaluator;
use crate::vars::template::call::Arguments;
use crate::vars::template::live::{Halt, Live, Outcome, fail};

mod addresses;
mod files;
mod kinds;
mod results;
mod texts;
pub(in crate::vars) mod version;

/// A test of the table.
#[derive(Debug)]
pub(in crate::vars) struct Test {
    pub name: &'static str,
    pub run: Run,
}

/// How a test is run.
#[derive(Clone, Copy, Debug)]
pub(in crate::vars) enum Run {
    /// On a value as it is: undefined and unknown ones too.
    Live(fn(&Evaluator<'_>, &Live, Arguments) -> Outcome<bool>),
    /// On a final value that is known, with its arguments.
    Known(fn(&Given<'_, '_>) -> Outcome<bool>),
    /// On a final value of which parts may be unknown.
    Carries(fn(&Given<'_, '_>) -> Outcome<bool>),
}

/// One use of a test.
pub(in crate::vars) struct Given<'g, 'e> {
    pub name: &'static str,
    pub run: &'g Evaluator<'e>,
    pub subject: Value,
    pub positional: Vec<Value>,
    pub named: Vec<(std::sync::Arc<str>, Value)>,
}

impl Given<'_, '_> {
    /// Returns the argument at `index` or named `name`.
    pub(in crate::vars) fn argument(&self, index: usize, name: &str) -> Option<&Value> {
        self.named.iter().find(|(known, _)| **known == *name).map(|(_, value)| value).or_else(|| self.positional.get(index))
    }

    pub(in crate::vars) fn needed(&self, index: usize, name: &str) -> Outcome<&Value> {
        self.argument(index, name).map_or_else(|| fail(format!("the test `{}` needs an argument", self.name)), Ok)
    }

    pub(in crate::vars) fn flag(&self, index: usize, name: &str) -> bool {
        self.argument(index, name).is_some_and(crate::vars::template::operators::plain_truth)
    }
}

const fn known(name: &'static str, run: fn(&Given<'_, '_>) -> Outcome<bool>) -> Test {
    Test { name, run: Run::Known(run) }
}

const fn carries(name: &'static str, run: fn(&Given<'_, '_>) -> Outcome<bool>) -> Test {
    Test { name, run: Run::Carries(run) }
}

const fn live(name: &'static str, run: fn(&Evaluator<'_>, &Live, Arguments) -> Outcome<bool>) -> Test {
    Test { name, run: Run::Live(run) }
}

const ALL: &[&[Test]] = &[kinds::TESTS, results::TESTS, texts::TESTS, version::TESTS, files::TESTS, addresses::TESTS];

/// Returns the test `name`, with or without the name of its collection.
pub(in crate::vars) fn find(name: &str) -> Option<&'static Test> {
    let short = crate::vars::short_name(name)?;
    ALL.iter().flat_map(|theme| theme.iter()).find(|test| test.name == short)
}

/// Says that there is no such test.
pub(in crate::vars) fn unknown(name: &str) -> Diagnostic {
    let names = ALL.iter().flat_map(|theme| theme.iter()).map(|test| test.name);
    Diagnostic::error(format!("No test named '{name}'")).did_you_mean(name.rsplit('.').next().unwrap_or(name), names)
}

/// Applies a test.
pub(in crate::vars) fn apply(run: &Evaluator<'_>, test: &'static Test, subject: &Live, arguments: Arguments) -> Outcome<bool> {
    let function = match test.run {
        Run::Live(function) => return function(run, subject, arguments),
        Run::Known(function) | Run::Carries(function) => function,
    };
    let subject = match test.run {
        Run::Carries(_) => run.freeze(subject)?,
        _ => run.known(subject)?,
    };
    if let Value::Unknown(unknown) = subject {
        return Err(Halt::Unknown(unknown));
    }
    let given = Given {
        name: test.name,
        run,
        subject,
        positional: arguments.positional.iter().map(|value| run.known(value)).collect::<Outcome<_>>()?,
        named: arguments.named.iter().map(|(name, value)| Ok((name.clone(), run.known(value)?))).collect::<Outcome<_>>()?,
    };
    function(&given)
}
