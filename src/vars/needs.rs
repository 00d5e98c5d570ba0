//! Which variables a template is sure to need: for what can be told wrong without running it.

use std::collections::BTreeSet;

use super::template::ast::{Argument, Expr, Kind, Stmt, StmtKind};
use super::template::live::Origin;
use super::template::parse::{self, Syntax};
use super::template::place::locate;
use crate::source::{Diagnostic, Sources, Span};

/// What a template says of variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Variables that have to be there, or the template fails.
    pub needed: BTreeSet<String>,
    /// Variables that it is ready to miss: it asks whether they are there, or has a default.
    pub asked: BTreeSet<String>,
}

/// Returns what a text of a playbook says of variables: a template, or with `is_expression` an expression without braces.
/// Nothing where it cannot be read; that is told elsewhere.
pub fn needs(text: &str, is_expression: bool) -> Needs {
    let parsed = if is_expression { parse::expression(text) } else { parse::template(text, &Syntax::inline()) };
    let mut needs = Needs::default();
    if let Ok(template) = parsed {
        body(&template.body, true, &mut needs);
    }
    needs
}

/// Returns what keeps a text of a playbook from being read: a template, or with `is_condition` an expression without braces.
pub fn mistake(sources: &Sources, text: &str, span: Span, is_condition: bool) -> Option<Diagnostic> {
    let parsed = if is_condition { parse::condition(text) } else { parse::template(text, &Syntax::inline()) };
    let wrong = parsed.err()?;
    Some(wrong.diagnostic.at(locate(sources, &Origin { text: text.into(), span }, wrong.at)))
}

/// Goes through statements; what is not `sure` to run needs nothing, but may still ask.
fn body(statements: &[Stmt], sure: bool, needs: &mut Needs) {
    for statement in statements {
        match &statement.kind {
            StmtKind::Emit(value) | StmtKind::Do(value) => expr(value, sure, needs),
            StmtKind::If { test, yes, no } => {
                expr(test, sure, needs);
                body(yes, false, needs);
                body(no, false, needs);
            }
            // Names that a statement makes itself are not told apart here, so that what follows it needs nothing.
            StmtKind::For(each) => {
                expr(&each.items, sure, needs);
                body(&each.body, false, needs);
                return body_rest(statements, needs);
            }
            StmtKind::Raw(_) | StmtKind::Break | StmtKind::Continue => {}
            _ => return body_rest(statements, needs),
        }
    }
}

/// Only asks are taken from what follows a statement that may define something.
fn body_rest(statements: &[Stmt], needs: &mut Needs) {
    for statement in statements {
        if let StmtKind::Emit(value) = &statement.kind {
            expr(value, false, needs);
        }
    }
}

fn expr(value: &Expr, sure: bool, needs: &mut Needs) {
    match &*value.kind {
        Kind::Const(_) => {}
        Kind::Var(name) => {
            if sure {
                needs.needed.insert(name.to_string());
            }
        }
        Kind::List(items) | Kind::Tuple(items) => items.iter().for_each(|item| expr(item, sure, needs)),
        Kind::Dict(entries) => entries.iter().for_each(|(key, item)| {
            expr(key, sure, needs);
            expr(item, sure, needs);
        }),
        Kind::Attribute(inner, _) | Kind::Not(inner) | Kind::Negative(inner) => expr(inner, sure, needs),
        Kind::Item(inner, index) | Kind::Binary(_, inner, index) => {
            expr(inner, sure, needs);
            expr(index, sure, needs);
        }
        Kind::Slice(inner, parts) => {
            expr(inner, sure, needs);
            parts.iter().flatten().for_each(|part| expr(part, sure, needs));
        }
        // The right side may not be reached.
        Kind::And(first, second) | Kind::Or(first, second) => {
            expr(first, sure, needs);
            expr(second, false, needs);
        }
        Kind::Compare(first, others) => {
            expr(first, sure, needs);
            others.iter().for_each(|(_, other)| expr(other, sure, needs));
        }
        Kind::If { test, yes, no } => {
            expr(test, sure, needs);
            expr(yes, false, needs);
            no.iter().for_each(|no| expr(no, false, needs));
        }
        Kind::Filter { filter, subject, arguments } => {
            if let Some(subject) = subject {
                if matches!(filter.name, "default" | "d") { ask(subject, needs) } else { expr(subject, sure, needs) }
            }
            all(arguments, sure, needs);
        }
        Kind::Test { test, subject, arguments } => {
            if matches!(test.name, "defined" | "undefined") {
                ask(subject, needs)
            } else {
                expr(subject, sure, needs)
            }
            all(arguments, sure, needs);
        }
        Kind::Call { callee, arguments } => {
            // A function's own name is no variable.
            if !matches!(&*callee.kind, Kind::Var(_)) {
                expr(callee, sure, needs);
            }
            all(arguments, sure, needs);
        }
    }
}

fn all(arguments: &[Argument], sure: bool, needs: &mut Needs) {
    for argument in arguments {
        match argument {
            Argument::Position(value) | Argument::Name(_, value) | Argument::Splat(value) | Argument::NamedSplat(value) => {
                expr(value, sure, needs);
            }
        }
    }
}

/// Takes in a variable that may be missing: the root of `a.b[0]`.
fn ask(value: &Expr, needs: &mut Needs) {
    match &*value.kind {
        Kind::Var(name) => {
            needs.asked.insert(name.to_string());
        }
        Kind::Attribute(inner, _) | Kind::Item(inner, _) => ask(inner, needs),
        _ => expr(value, false, needs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, is_expression: bool) -> String {
        let Needs { needed, asked } = needs(text, is_expression);
        let joined = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(" ");
        format!("{} / {}", joined(needed), joined(asked))
    }

    #[test]
    fn only_what_is_sure_to_be_used_is_needed() {
        assert_eq!(of("{{ a.b[c] }} {{ d | default(e) }}", false), "a c e / d");
        assert_eq!(of("a is defined and b", true), " / a");
        assert_eq!(of("x if y else z", true), "y / ");
        assert_eq!(of("lookup('env', n) ~ range(3)", true), "n / ");
        assert_eq!(of("{% for i in list %}{{ i }}{% endfor %}{{ later }}", false), "list / ");
        assert_eq!(of("{% set v = 1 %}{{ v }}", false), " / ");
        assert_eq!(of("{{ broken", false), " / ");
    }
}
