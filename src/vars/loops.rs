//! What loops go through: `loop` and the `with_*` of old.
use super::{Engine, Variables};
use crate::source::{Diagnostic, Span};
use crate::value::Value;
impl Engine {
    /// Returns the items of a loop: `kind` is `loop`, `items`, `dict`, ...
    ///
    /// # Errors
    /// Says what is wrong with the list.
    pub fn loop_items(&self, kind: &str, items: &Value, span: Span, vars: &dyn Variables) -> Result<Value, Diagnostic> {
        let _ = (kind, span);
        self.render(items, vars)
    }
}
