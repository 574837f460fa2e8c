// SPDX-License-Identifier: AGPL-3.0-only
//! The description of each key for documents. The sections describe themselves ([`super::section`]); `make generate`
//! writes the files. The agent never calls this, so its binary does not have the texts.

use super::Agent;
use super::machine::Machine;
use super::values::KeyType;

/// The action of a reload on a key whose value in the file has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadClass {
    /// The new value is applied.
    Applied,
    /// The old value stays until the next start.
    Restart,
    /// The `reload` block of the section decides; the text is the condition.
    Conditional(&'static str),
}

impl ReloadClass {
    /// Replaces `old` if a reload applies the key.
    pub fn apply<T: Clone>(self, old: &mut T, new: &T) {
        if self == Self::Applied {
            old.clone_from(new);
        }
    }
}

/// The machine for which documents show defaults and limits.
const MACHINE: Machine = Machine {
    page_size: 4096,
    memory: 1 << 30,
    has_ipv6: true,
};

/// A key as its section declares it.
#[derive(Clone, Copy, Debug)]
pub struct KeyDeclaration {
    pub name: &'static str,
    /// The unit of a number.
    pub unit: Option<&'static str>,
    /// Whether the file must set it.
    pub required: bool,
    /// A value in the syntax of the file, for a key without a fixed default.
    pub example: Option<&'static str>,
    /// The value that config/rfm.toml sets, if it is not the default.
    pub recommended: Option<&'static str>,
    pub reload: ReloadClass,
    /// The purpose of the key, short enough for config/rfm.toml and an option of NixOS.
    pub text: &'static str,
    /// More text, for the manual and the reference chapter only.
    pub details: Option<&'static str>,
}

impl KeyDeclaration {
    /// Returns a key with a fixed default and only these properties.
    pub(super) fn new(name: &'static str, reload: ReloadClass, text: &'static str) -> Self {
        Self {
            name,
            unit: None,
            required: false,
            example: None,
            recommended: None,
            reload,
            text,
            details: None,
        }
    }
}

/// A key as documents show it.
#[derive(Clone, Debug)]
pub struct KeyReference {
    pub declared: KeyDeclaration,
    /// The valid values in words.
    pub expected: String,
    /// The type in nixpkgs' `lib.types`.
    pub nix: String,
    /// The default in the syntax of the file; `None` if there is none or if it depends on other keys.
    pub default: Option<String>,
}

impl KeyReference {
    /// The value that config/rfm.toml shows.
    pub fn shown(&self) -> &str {
        let given = self.declared.recommended.or(self.declared.example);
        given.or(self.default.as_deref()).unwrap_or_default()
    }
}

/// The layout of the keys of a section in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableLayout {
    /// `[path]`
    Table,
    /// `[[path]]`, at most this many times.
    Tables(usize),
    /// `[path]` with keys that the operator names; the one shown is an example.
    FreeKeys,
}

/// A table of the file.
#[derive(Clone, Debug)]
pub struct SectionReference {
    /// Such as `agent.ipfix.collector`.
    pub path: String,
    pub layout: TableLayout,
    pub text: &'static str,
    pub details: Option<&'static str>,
    pub keys: Vec<KeyReference>,
    /// The tables inside, in their order.
    pub sections: Vec<SectionReference>,
}

impl SectionReference {
    fn new(path: String, layout: TableLayout, text: &'static str) -> Self {
        Self {
            path,
            layout,
            text,
            details: None,
            keys: Vec::new(),
            sections: Vec::new(),
        }
    }

    /// Adds the table `name`; `describe` adds its keys.
    pub(super) fn section(
        &mut self,
        name: &str,
        layout: TableLayout,
        text: &'static str,
        details: Option<&'static str>,
        describe: impl FnOnce(&mut Self),
    ) {
        let path = format!("{}.{name}", self.path);
        let mut section = Self::new(path, layout, text);
        section.details = details;
        describe(&mut section);
        self.sections.push(section);
    }

    /// Adds a key.
    pub(super) fn key<K: KeyType>(
        &mut self,
        key: &K,
        default: Option<&K::Value>,
        declared: KeyDeclaration,
    ) {
        let fixed = !declared.required && declared.example.is_none();
        self.keys.push(KeyReference {
            declared,
            expected: key.expected(),
            nix: key.nix(),
            default: default.filter(|_| fixed).map(|value| key.to_toml(value)),
        });
    }

    /// Adds a table whose keys the operator names; `example` is one of them.
    pub(super) fn free_keys<K: KeyType>(
        &mut self,
        name: &str,
        text: &'static str,
        key: &K,
        example: KeyDeclaration,
    ) {
        self.section(name, TableLayout::FreeKeys, text, None, |section| {
            section.key(key, None, example);
        });
    }

    /// Returns this table and all inside it, in the order of the file; tables without keys are left out.
    pub fn flat(&self) -> Vec<&Self> {
        let own = (!self.keys.is_empty()).then_some(self);
        let inner = self.sections.iter().flat_map(Self::flat);
        own.into_iter().chain(inner).collect()
    }
}

/// Returns every section and key, in the order of the file.
pub fn reference() -> SectionReference {
    let mut agent = SectionReference::new("agent".into(), TableLayout::Table, "");
    Agent::describe(&mut agent, &MACHINE);
    agent
}
