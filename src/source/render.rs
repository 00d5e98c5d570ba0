//! A diagnostic as text (stand-in).
use super::{Diagnostic, Sources};
/// Renders.
pub fn text(sources: &Sources, diagnostic: &Diagnostic, _colour: bool) -> String {
    let place = diagnostic.span.and_then(|span| sources.place(span)).map(|place| format!("\n --> {place}")).unwrap_or_default();
    let hints: String = diagnostic.hints.iter().map(|hint| format!("\nhint: {hint}")).collect();
    format!("error: {}{place}{hints}", diagnostic.message)
}
