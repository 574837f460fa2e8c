// SPDX-License-Identifier: AGPL-3.0-only
//! The dashboard as Grafana evaluates it: panels, and variables, of which each may use those before it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::common::lab::Namespace;
use crate::common::prometheus::ask;

const DASHBOARD: &str = include_str!("../../grafana/dashboard.json");

pub fn dashboard() -> Value {
    serde_json::from_str(DASHBOARD).expect("JSON")
}

/// All panels, those of collapsed rows included.
pub fn panels() -> Vec<Value> {
    let mut all = Vec::new();
    for panel in dashboard()["panels"].as_array().expect("panels") {
        all.push(panel.clone());
        all.extend(panel["panels"].as_array().cloned().unwrap_or_default());
    }
    all
}

/// The annotations that are queries.
pub fn annotations() -> Vec<Value> {
    let mut all = dashboard()["annotations"]["list"]
        .as_array()
        .cloned()
        .expect("annotations");
    all.retain(|annotation| annotation["expr"].is_string());
    all
}

/// One query of a panel, with variables.
#[derive(Clone)]
pub struct Target {
    pub title: String,
    pub reference: String,
    pub expression: String,
    pub instant: bool,
}

pub fn targets() -> Vec<Target> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = |panel: &Value| {
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        let title = text(&panel["title"]);
        targets.into_iter().map(move |target| Target {
            title: title.clone(),
            reference: text(&target["refId"]),
            expression: text(&target["expr"]),
            instant: target["instant"] == true,
        })
    };
    panels().iter().flat_map(of).collect()
}

pub fn target(title: &str, reference: &str) -> Target {
    let all = targets();
    let found = all
        .into_iter()
        .find(|t| t.title == title && t.reference == reference);
    found.unwrap_or_else(|| panic!("no query {reference} of a panel {title}"))
}

/// A time range that the dashboard shows, and the values of the variables in it.
pub struct View<'a> {
    prometheus: &'a Namespace,
    range: u64,
    /// `&time=` of instant queries; without it they are evaluated now.
    at: String,
    rate_interval: String,
    values: Vec<(String, String)>,
}

impl<'a> View<'a> {
    /// Evaluates the variables in their order, except those with a given value.
    pub fn new(
        prometheus: &'a Namespace,
        end: Option<u64>,
        range: u64,
        rate_interval: &str,
        given: &[(&str, &str)],
    ) -> Self {
        let mut view = Self {
            prometheus,
            range,
            at: end.map_or(String::new(), |end| format!("&time={end}")),
            rate_interval: rate_interval.to_owned(),
            values: Vec::new(),
        };
        let list = dashboard()["templating"]["list"].clone();
        for variable in list.as_array().expect("variables") {
            let name = variable["name"].as_str().expect("a name");
            let value = match given.iter().find(|(given, _)| *given == name) {
                Some((_, value)) => (*value).to_owned(),
                None => view.evaluate(variable),
            };
            view.values.push((name.to_owned(), value));
        }
        view
    }

    pub fn value(&self, name: &str) -> &str {
        let found = self.values.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("no variable {name}")).1
    }

    fn evaluate(&self, variable: &Value) -> String {
        if variable["type"] != "query" {
            return variable["current"]["value"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
        }
        let query = variable["query"]["query"].as_str().expect("a query");
        let regex = variable["regex"].as_str().unwrap_or_default();
        let (expression, label) = match query.strip_prefix("query_result(") {
            Some(inner) => {
                let label = regex
                    .strip_prefix('/')
                    .and_then(|r| r.strip_suffix("=\"([^\"]+)\"/"));
                let inner = inner.strip_suffix(')').expect("a parenthesis");
                (inner.to_owned(), label.expect("the regex of a label"))
            }
            None => {
                let inner = query
                    .strip_prefix("label_values(")
                    .and_then(|q| q.strip_suffix(')'));
                let (series, label) = inner
                    .and_then(|q| q.rsplit_once(", "))
                    .expect("label_values");
                (format!("group by ({label}) ({series})"), label)
            }
        };
        let results = ask(
            self.prometheus,
            "query",
            &self.fill_in(&expression),
            &self.at,
        );
        let values: BTreeSet<_> = results
            .iter()
            .filter_map(|result| result["metric"][label].as_str())
            .collect();
        if variable["multi"] == true {
            // the choice "All"
            if let Some(all) = variable["allValue"].as_str() {
                return all.to_owned();
            }
            let escaped: Vec<_> = values.into_iter().map(escape).collect();
            return format!("({})", escaped.join("|"));
        }
        assert_eq!(values.len(), 1, "{}: {values:?}", variable["name"]);
        values.into_iter().next().unwrap_or_default().to_owned()
    }

    /// Replaces the variables as Grafana does.
    pub fn fill_in(&self, expression: &str) -> String {
        let mut text = expression
            .replace("$__rate_interval", &self.rate_interval)
            .replace("$__range_s", &self.range.to_string())
            .replace("$__range", &format!("{}s", self.range));
        for (name, value) in &self.values {
            text = text.replace(&format!("${name}"), value);
        }
        let left = text.split('$').skip(1).find(|rest| !rest.starts_with('1'));
        assert!(
            left.is_none(),
            "not replaced: ${}",
            left.unwrap_or_default()
        );
        text
    }

    /// Returns the results of an instant query at the end of the range.
    pub fn instant(&self, target: &Target) -> Vec<Value> {
        ask(
            self.prometheus,
            "query",
            &self.fill_in(&target.expression),
            &self.at,
        )
    }

    /// Returns the results over the range, one value in each `step`.
    pub fn range(&self, target: &Target, end: u64, step: u64) -> Vec<Value> {
        let more = format!("&start={}&end={end}&step={step}", end - self.range);
        ask(
            self.prometheus,
            "query_range",
            &self.fill_in(&target.expression),
            &more,
        )
    }
}

/// Escapes a value for a regular expression in a string of PromQL.
fn escape(value: &str) -> String {
    let mut out = String::new();
    for c in value.chars() {
        if "\\^$*+?.()|[]{}\"".contains(c) {
            out.push_str("\\\\");
        }
        out.push(c);
    }
    out
}
