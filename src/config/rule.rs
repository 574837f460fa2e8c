// SPDX-License-Identifier: AGPL-3.0-only
//! `[[agent.firewall.rule]]`: the parts of a rule as keys of its table.

use std::borrow::Cow;

use super::document::Section;
use super::reference::ReloadClass::Applied;
use super::reference::{KeyDeclaration, SectionReference};
use super::values::{KeyType, Parsed, SECOND, Value, duration, integer, number, quoted};
use crate::types::rule::{PARTS, PartError, PartForm, PatternCache, Rule, RulePart};

struct PartKey(&'static RulePart);

impl KeyType for PartKey {
    /// A rule with only this part.
    type Value = Rule;

    fn parse(&self, value: &Value<'_>) -> Parsed<Rule> {
        let word = match self.0.form {
            PartForm::Number { .. } => integer(value).map(|number| number.to_string().into()),
            PartForm::NumberOrText => match integer(value) {
                Some(number) => Some(number.to_string().into()),
                None => value.get_ref().as_str().map(Cow::from),
            },
            _ => value.get_ref().as_str().map(Cow::from),
        };
        let Some(word) = word else {
            return self.refuse(value, None);
        };
        let mut rule = Rule::default();
        match self.0.read(&mut rule, &word, &mut PatternCache::default()) {
            Ok(()) => Ok(rule),
            Err(PartError::Invalid(reason)) => self.refuse(value, reason),
            Err(PartError::TooManyPatterns) => self.refuse(value, None),
        }
    }

    fn expected(&self) -> String {
        match self.0.form {
            PartForm::Text | PartForm::NumberOrText => self.0.expected_text(),
            PartForm::Name => self.names().join(" or "),
            PartForm::Number { min, max } => number(min..=max).expected(),
            PartForm::Duration => duration(SECOND).expected(),
        }
    }

    fn nix(&self) -> String {
        match self.0.form {
            PartForm::Text | PartForm::Duration => "str".into(),
            PartForm::NumberOrText => "either ints.positive str".into(),
            PartForm::Name => format!("enum [ {} ]", self.names().join(" ")),
            PartForm::Number { min, max } => number(min..=max).nix(),
        }
    }

    fn to_toml(&self, rule: &Rule) -> String {
        let word = self.0.word(rule);
        match self.0.form {
            PartForm::Number { .. } => word,
            PartForm::NumberOrText if word.bytes().all(|byte| byte.is_ascii_digit()) => word,
            _ => quoted(word),
        }
    }
}

impl PartKey {
    fn names(&self) -> Vec<String> {
        self.0.words().into_iter().map(quoted).collect()
    }
}

impl Rule {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let mut rule = Self::default();
        for part in &PARTS {
            if let Some(read) = section.optional(part.name, PartKey(part)) {
                part.copy(&read, &mut rule);
            }
        }
        rule
    }

    /// Describes each key to documents.
    pub(super) fn describe(docs: &mut SectionReference) {
        let default = Self::default();
        for part in &PARTS {
            let key = PartKey(part);
            let has_default = part.form == PartForm::Name;
            let declared = KeyDeclaration {
                unit: part.unit(),
                example: Some(part.example).filter(|example| !example.is_empty()),
                ..KeyDeclaration::new(part.name, Applied, part.text)
            };
            docs.key(&key, has_default.then_some(&default), declared);
        }
    }
}
