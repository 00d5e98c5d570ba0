//! `json_query`: values picked by a JMESPath expression.

use jmespath::{Rcvar, Variable};

use crate::value::{Map, Value, json};
use crate::vars::template::live::{Outcome, fail};

use super::{Call, Filter, known};

pub(super) const FILTERS: &[Filter] = &[known("json_query", query)];

fn query(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let expression = call.text_or(0, "expr", "")?;
    let compiled = match jmespath::compile(&with_quotes(&expression)) {
        Ok(compiled) => compiled,
        Err(error) => return fail(format!("`json_query` cannot read `{expression}`: {}", first_line(&error))),
    };
    match compiled.search(json::to_json(&call.subject)) {
        Ok(found) => {
            let mut orders = Vec::new();
            collect_orders(&call.subject, &mut orders);
            Ok(Shown { expression: &expression, orders }.value(&found))
        }
        Err(error) => fail(format!("`json_query` with `{expression}`: {}", first_line(&error))),
    }
}

/// Puts quotes around what stands between backticks without being JSON: Python's library takes it for a text.
fn with_quotes(expression: &str) -> String {
    let parts = expression.split('`').enumerate().map(|(at, part)| {
        let plain = at % 2 == 1 && serde_json::from_str::<serde_json::Value>(part).is_err();
        if plain { serde_json::Value::from(part.trim_start()).to_string() } else { part.to_owned() }
    });
    parts.collect::<Vec<_>>().join("`")
}

fn first_line(error: &jmespath::JmespathError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Collects the keys of every dictionary in `value`, in their order.
fn collect_orders<'v>(value: &'v Value, out: &mut Vec<&'v Map>) {
    match value {
        Value::List(items) => items.iter().for_each(|item| collect_orders(item, out)),
        Value::Map(map) => {
            out.push(map);
            map.values().for_each(|item| collect_orders(item, out));
        }
        _ => {}
    }
}

/// Gives dictionaries the order back that the library does not keep.
struct Shown<'q> {
    expression: &'q str,
    orders: Vec<&'q Map>,
}

impl Shown<'_> {
    fn value(&self, found: &Rcvar) -> Value {
        match &**found {
            Variable::Null | Variable::Expref(_) => Value::Null,
            Variable::Bool(flag) => Value::Bool(*flag),
            Variable::String(text) => Value::str(text),
            Variable::Number(number) => match number.as_i64() {
                Some(whole) => Value::Int(whole),
                None => {
                    // Sums and the like are floats in the library; a whole one was whole before.
                    let float = number.as_f64().unwrap_or(f64::NAN);
                    #[allow(clippy::cast_possible_truncation)]
                    if float.fract() == 0.0 && float.abs() < 9e15 { Value::Int(float as i64) } else { Value::Float(float) }
                }
            },
            Variable::Array(items) => Value::list(items.iter().map(|item| self.value(item))),
            Variable::Object(entries) => {
                let mut keys: Vec<&String> = entries.keys().collect();
                match self.orders.iter().find(|map| map.len() == keys.len() && keys.iter().all(|key| map.contains_key(key.as_str()))) {
                    Some(order) => keys.sort_by_key(|key| order.get_index_of(key.as_str())),
                    None => keys.sort_by_key(|key| self.expression.find(key.as_str()).unwrap_or(usize::MAX)),
                }
                Value::map(keys.into_iter().filter_map(|key| Some((key.as_str(), self.value(entries.get(key)?)))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::vars::suite::shown;

    const VARS: &str = r#"{"l": [{"name": "web", "n": 2, "sub": {"p": 80, "a": 1}}, {"name": "db", "n": 1}]}"#;

    #[test]
    fn expressions_pick_project_and_filter() {
        let cases = [
            ("[].name", "['web', 'db']"),
            ("[?n==`2`].name | [0]", "'web'"),
            ("[].{b: name, a: n}", "[{'b': 'web', 'a': 2}, {'b': 'db', 'a': 1}]"),
            ("[0].sub", "{'p': 80, 'a': 1}"),
            ("sum([].n)", "3"),
            ("[?name==`db`].n", "[1]"),
            ("avg([].n)", "1.5"),
            ("[9].name", "None"),
        ];
        for (expression, wanted) in cases {
            assert_eq!(shown(&format!("{{{{ l | json_query('{expression}') }}}}"), VARS), wanted, "{expression}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        assert!(shown("{{ l | json_query('[?') }}", VARS).starts_with("ERR `json_query` cannot read `[?`"));
        assert!(shown("{{ l | json_query('nosuch(@)') }}", VARS).starts_with("ERR `json_query` with `nosuch(@)`"));
    }
}
