//! What a template prints: the value itself when it is the only thing printed, else text.

use crate::value::Value;

use super::Evaluator;
use super::live::{Halt, Live, Outcome, fail};

/// Collects what a template prints.
#[derive(Default)]
pub(super) struct Output {
    single: Option<Live>,
    text: String,
    pieces: usize,
}

impl Output {
    pub(super) fn raw(&mut self, text: &str, run: &Evaluator<'_>) -> Outcome<()> {
        self.flush(run)?;
        self.pieces += 1;
        self.text.push_str(text);
        Ok(())
    }

    pub(super) fn value(&mut self, value: Live, run: &Evaluator<'_>) -> Outcome<()> {
        if self.pieces == 0 {
            self.pieces = 1;
            self.single = Some(value);
            return Ok(());
        }
        self.flush(run)?;
        self.pieces += 1;
        run.print(&value, &mut self.text)
    }

    fn flush(&mut self, run: &Evaluator<'_>) -> Outcome<()> {
        match self.single.take() {
            Some(value) => run.print(&value, &mut self.text),
            None => Ok(()),
        }
    }

    /// Returns all that was printed as text.
    pub(super) fn into_text(mut self, run: &Evaluator<'_>) -> Outcome<String> {
        self.flush(run)?;
        Ok(self.text)
    }

    /// Returns the value printed, with its own type when it is the only one.
    pub(super) fn into_native(self, run: &Evaluator<'_>) -> Outcome<Live> {
        match self.single {
            Some(Live::Undefined(undefined)) => Err(Halt::Undefined(undefined)),
            Some(Live::Function(_)) if self.pieces == 1 => fail("the template gives a function, not a value; call it with `()`"),
            Some(value) => Ok(value),
            None if self.pieces == 0 => Ok(Live::Value(Value::Null)),
            None => self.into_text(run).map(Live::str),
        }
    }
}
