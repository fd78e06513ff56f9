//! Judges documents by the JSON Schemas in `schemas`.
//!
//! The crates that do so turn on features of serde_json, ahash or syn that Burn is built without, so that the tests
//! would build Burn a second time. The schemas need few keywords; what stands here knows these, and panics at any other
//! rather than pass over it. `tests/interop/check_schemas.py` lets a full validator judge the same.

use std::path::Path;

use regex::Regex;
use serde_json::Value;

/// The problems of a document under the schema of this name: `verify`, `certificate`, …. Also a problem is a field that
/// the schema does not describe: readers may meet new ones, but each is to be described when it is made.
pub fn problems(schema: &str, document: &Value) -> Vec<String> {
    let schema = load(schema);
    let mut problems = vec![];
    Judge { root: &schema, problems: &mut problems }.judge(&schema, document, "");
    problems
}

/// A schema by its name.
pub fn load(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas").join(format!("{name}.schema.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

struct Judge<'a> {
    root: &'a Value,
    problems: &'a mut Vec<String>,
}

impl Judge<'_> {
    fn judge(&mut self, schema: &Value, value: &Value, at: &str) {
        let Value::Object(keywords) = schema else { panic!("a schema is an object: {schema}") };
        for (keyword, rule) in keywords {
            match keyword.as_str() {
                "$schema" | "$id" | "$defs" | "title" | "description" => {}
                // Read together with `properties`.
                "additionalProperties" => {}
                "$ref" => self.follow(rule.as_str().expect("$ref is a string"), value, at),
                "type" => self.require(has_type(rule, value), value, at, || format!("is not {rule}")),
                "const" => self.require(value == rule, value, at, || format!("is not {rule}")),
                "enum" => self.require(items(rule).contains(value), value, at, || format!("is none of {rule}")),
                "anyOf" => {
                    let fits = items(rule).iter().any(|one| self.fits(one, value, at));
                    self.require(fits, value, at, || format!("fits none of {rule}"));
                }
                "pattern" => {
                    let pattern = Regex::new(rule.as_str().expect("a pattern")).expect("a regular expression");
                    let fits = value.as_str().is_none_or(|text| pattern.is_match(text));
                    self.require(fits, value, at, || format!("does not match {rule}"));
                }
                "minimum" => {
                    let fits = value.as_f64().is_none_or(|v| v >= rule.as_f64().expect("a number"));
                    self.require(fits, value, at, || format!("is less than {rule}"));
                }
                "minItems" | "maxItems" => {
                    let limit = rule.as_u64().expect("a count") as usize;
                    let fits = value.as_array().is_none_or(|items| match keyword.as_str() {
                        "minItems" => items.len() >= limit,
                        _ => items.len() <= limit,
                    });
                    self.require(fits, value, at, || format!("breaks {keyword} {limit}"));
                }
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.judge(rule, item, &format!("{at}/{index}"));
                    }
                }
                "required" => {
                    let Value::Object(fields) = value else { continue };
                    for name in items(rule).iter().filter_map(Value::as_str).filter(|n| !fields.contains_key(*n)) {
                        self.problems.push(format!("{at} lacks {name}"));
                    }
                }
                "properties" => {}
                other => panic!("the keyword {other} is not known here"),
            }
        }
        if let Value::Object(fields) = value {
            self.fields(keywords, fields, at);
        }
    }

    fn fields(&mut self, keywords: &serde_json::Map<String, Value>, fields: &serde_json::Map<String, Value>, at: &str) {
        let described = keywords.get("properties").and_then(Value::as_object);
        let others = keywords.get("additionalProperties");
        for (name, field) in fields {
            let at = format!("{at}/{name}");
            match (described.and_then(|d| d.get(name)), others) {
                (Some(schema), _) => self.judge(schema, field, &at),
                (None, Some(schema @ Value::Object(_))) => self.judge(schema, field, &at),
                (None, _) if described.is_some() || others.is_some() => {
                    self.problems.push(format!("{at} is not described"));
                }
                _ => {}
            }
        }
    }

    /// To a definition of the same schema, or to another schema by its identifier.
    fn follow(&mut self, reference: &str, value: &Value, at: &str) {
        if let Some(name) = reference.strip_prefix("#/$defs/") {
            let definition = &self.root["$defs"][name];
            self.judge(definition, value, at);
        } else {
            let name = reference.strip_prefix("urn:gatewise:schema:").and_then(|r| r.strip_suffix(":1"));
            let other = load(name.unwrap_or_else(|| panic!("the reference {reference} is not known here")));
            Judge { root: &other, problems: self.problems }.judge(&other, value, at);
        }
    }

    fn fits(&self, schema: &Value, value: &Value, at: &str) -> bool {
        let mut problems = vec![];
        Judge { root: self.root, problems: &mut problems }.judge(schema, value, at);
        problems.is_empty()
    }

    fn require(&mut self, fits: bool, value: &Value, at: &str, why: impl Fn() -> String) {
        if !fits {
            let shown: String = value.to_string().chars().take(80).collect();
            self.problems.push(format!("{at}: {shown} {}", why()));
        }
    }
}

fn items(rule: &Value) -> &[Value] {
    rule.as_array().unwrap_or_else(|| panic!("a list: {rule}"))
}

fn has_type(rule: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str().expect("a type's name") {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        other => panic!("the type {other} is not known here"),
    };
    rule.as_array().map_or_else(|| is(rule), |any| any.iter().any(is))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problems_of(schema: Value, value: Value) -> usize {
        let mut problems = vec![];
        Judge { root: &schema, problems: &mut problems }.judge(&schema, &value, "");
        problems.len()
    }

    #[test]
    fn every_keyword_refuses_what_it_should() {
        for (schema, good, bad) in [
            (json!({ "type": "integer" }), json!(1), json!(1.5)),
            (json!({ "type": ["string", "null"] }), json!(null), json!(false)),
            (json!({ "const": "a" }), json!("a"), json!("b")),
            (json!({ "enum": ["a", null] }), json!(null), json!("b")),
            (json!({ "pattern": "^[0-9]{2}$" }), json!("12"), json!("123")),
            (json!({ "minimum": 0 }), json!(0), json!(-1)),
            (json!({ "minItems": 1 }), json!([1]), json!([])),
            (json!({ "maxItems": 1 }), json!([1]), json!([1, 2])),
            (json!({ "items": { "type": "string" } }), json!(["a"]), json!(["a", 1])),
            (json!({ "required": ["a"] }), json!({ "a": 1 }), json!({ "b": 1 })),
            (json!({ "properties": { "a": { "type": "string" } } }), json!({ "a": "" }), json!({ "a": 1 })),
            (json!({ "properties": { "a": {} } }), json!({ "a": 1 }), json!({ "b": 1 })),
            (json!({ "additionalProperties": { "type": "number" } }), json!({ "x": 1 }), json!({ "x": "1" })),
            (json!({ "anyOf": [{ "type": "null" }, { "const": 1 }] }), json!(1), json!(2)),
            (json!({ "$ref": "#/$defs/a", "$defs": { "a": { "const": 1 } } }), json!(1), json!(2)),
        ] {
            assert_eq!(problems_of(schema.clone(), good), 0, "{schema}");
            assert_eq!(problems_of(schema.clone(), bad), 1, "{schema}");
        }
    }

    #[test]
    #[should_panic(expected = "the keyword maximum is not known here")]
    fn an_unknown_keyword_is_not_passed_over() {
        problems_of(json!({ "maximum": 1 }), json!(2));
    }
}
