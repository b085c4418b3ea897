//! A filter as a condition in SQL; pure.

use crate::encode::escape;
use tokio_postgres::types::ToSql;
use waggle_vector::{Compare, Comparison, FilterNode, Value};

/// Comparisons that a condition may have. A node that others refer to stands in it once for each, so that a small filter may
/// become a very large condition; one above this is evaluated here, group by group.
const COMPARISONS_MAX: usize = 1_000;

/// A value of a condition.
pub(crate) type Parameter = Box<dyn ToSql + Send + Sync>;

/// A condition over a row of `groups` and the values it refers to.
pub(crate) struct Condition {
    /// SQL. Nothing of the filter stands in it but its form.
    pub(crate) sql: String,
    /// Numbered from the number that [`condition`] was given.
    pub(crate) parameters: Vec<Parameter>,
}

/// The condition of a filter that was checked; none if it would be too large.
pub(crate) fn condition(nodes: &[FilterNode], first_parameter: usize) -> Option<Condition> {
    let mut writer = Writer { first_parameter, parameters: Vec::new() };
    // Of each node: its condition, and how many comparisons that has.
    let mut written: Vec<(String, usize)> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let one = match node {
            FilterNode::Compare(compare) => (writer.compare(compare), 1),
            FilterNode::All(places) => joined(places, &written, " and ", "true")?,
            FilterNode::Any(places) => joined(places, &written, " or ", "false")?,
        };
        written.push(one);
    }
    let (sql, _comparisons) = written.pop()?;
    Some(Condition { sql, parameters: writer.parameters })
}

fn joined(
    places: &[u32],
    written: &[(String, usize)],
    operator: &str,
    of_none: &str,
) -> Option<(String, usize)> {
    let parts: Vec<_> = places.iter().filter_map(|place| written.get(*place as usize)).collect();
    let comparisons = parts.iter().map(|(_sql, comparisons)| comparisons).sum::<usize>().max(1);
    if comparisons > COMPARISONS_MAX {
        return None;
    }
    if parts.is_empty() {
        return Some((of_none.to_owned(), comparisons));
    }
    let parts: Vec<_> = parts.iter().map(|(sql, _comparisons)| sql.as_str()).collect();
    Some((format!("({})", parts.join(operator)), comparisons))
}

struct Writer {
    first_parameter: usize,
    parameters: Vec<Parameter>,
}

impl Writer {
    fn parameter(&mut self, value: impl ToSql + Send + Sync + 'static) -> String {
        let number = self.first_parameter + self.parameters.len();
        self.parameters.push(Box::new(value));
        format!("${number}")
    }

    fn compare(&mut self, compare: &Compare) -> String {
        let name = self.parameter(escape(&compare.attribute));
        let attribute = format!("(filterable -> {name}::text)");
        let operator = match compare.comparison {
            Comparison::Equal | Comparison::OneOf => return self.one_of(&attribute, &compare.values),
            Comparison::NotEqual | Comparison::NotOneOf => {
                return format!("not {}", self.one_of(&attribute, &compare.values));
            }
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
        };
        let compared = match compare.values.first() {
            Some(Value::Text(text)) => {
                let value = self.parameter(escape(text));
                format!("({attribute} ->> 't') collate \"C\" {operator} {value}::text")
            }
            Some(Value::Number(number)) if !number.is_nan() => {
                let value = self.parameter(*number);
                format!("({attribute} ->> 'n')::float8 {operator} {value}::float8")
            }
            Some(Value::Boolean(boolean)) => {
                let value = self.parameter(*boolean);
                format!("({attribute} ->> 'b')::boolean {operator} {value}::boolean")
            }
            // What is no number is neither greater nor less.
            _ => "false".to_owned(),
        };
        self.used(&name, format!("coalesce({compared}, false)"))
    }

    /// The server wants to know the type of each parameter, also of one whose comparison came to nothing.
    fn used(&self, name: &str, condition: String) -> String {
        format!("({condition} and {name}::text is not null)")
    }

    fn one_of(&mut self, attribute: &str, values: &[Value]) -> String {
        let (mut texts, mut numbers, mut booleans) = (Vec::new(), Vec::new(), Vec::new());
        for value in values {
            match value {
                Value::Text(text) => texts.push(escape(text)),
                Value::Number(number) if number.is_nan() => {}
                Value::Number(number) => numbers.push(*number),
                Value::Boolean(boolean) => booleans.push(*boolean),
            }
        }
        let (texts, numbers, booleans) =
            (self.parameter(texts), self.parameter(numbers), self.parameter(booleans));
        format!(
            "(coalesce(({attribute} ->> 't') = any({texts}::text[]), false) \
             or coalesce(({attribute} ->> 'n')::float8 = any({numbers}::float8[]), false) \
             or coalesce(({attribute} ->> 'b')::boolean = any({booleans}::boolean[]), false))"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(value: Value) -> FilterNode {
        let (attribute, comparison) = ("it's \"quoted\"".to_owned(), Comparison::Equal);
        FilterNode::Compare(Compare { attribute, comparison, values: vec![value] })
    }

    #[test]
    fn nothing_that_is_given_stands_in_the_condition() {
        let condition = condition(&[leaf(Value::Text("'; drop table groups".into()))], 3).unwrap();
        assert!(!condition.sql.contains("drop") && !condition.sql.contains("quoted"), "{}", condition.sql);
        assert_eq!(condition.parameters.len(), 4);
        assert!(condition.sql.contains("$3::text") && condition.sql.contains("$6::boolean[]"));
    }

    #[test]
    fn a_filter_that_would_grow_without_bound_is_not_written() {
        let mut nodes = vec![leaf(Value::Boolean(true))];
        nodes.extend((0..99).map(|place| FilterNode::All(vec![place, place])));
        assert!(condition(&nodes, 1).is_none());
        assert!(condition(&nodes[..9], 1).is_some());
    }

    #[test]
    fn empty_nodes_are_what_logic_says() {
        assert_eq!(condition(&[FilterNode::All(vec![])], 1).unwrap().sql, "true");
        assert_eq!(condition(&[FilterNode::Any(vec![])], 1).unwrap().sql, "false");
    }
}
