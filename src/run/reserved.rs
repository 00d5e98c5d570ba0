//! Names that templates have already: a variable of such a name hides what templates need, so it is told.

use std::sync::PoisonError;

use crate::report::event::Event;
use crate::run::Run;
use crate::source::{Diagnostic, Span};
use crate::value::Map;

/// Functions and words of templates.
const RESERVED: &[&str] = &[
    "cycler",
    "dict",
    "finalize",
    "hostvars",
    "joiner",
    "lipsum",
    "lookup",
    "namespace",
    "now",
    "omit",
    "q",
    "query",
    "range",
    "undef",
    "vars",
];

impl Run {
    /// Tells, once, of variables whose names are taken.
    pub(super) fn note_reserved(&self, variables: &Map, span: Span) {
        if variables.is_empty() || !self.sources.in_ansible_form() {
            return;
        }
        for name in RESERVED.iter().filter(|name| variables.contains_key(**name)) {
            let is_new = self.reserved.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
            if is_new {
                let warning = Diagnostic::warning(format!("Found variable using reserved name '{name}'.")).at(span);
                self.tell(Event::Diagnostic { text: self.rendered(&warning) });
            }
        }
    }
}
