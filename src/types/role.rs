// SPDX-License-Identifier: AGPL-3.0-only
//! Defines the role of an interface: the kind of network that it connects, and its provider.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::interface_pattern::Pattern;
use super::named::{Named, serialize_by_name};

/// The kind of network behind an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Transit,
    /// An internet exchange.
    Ix,
    /// A private network interconnect: one peer.
    Pni,
    Customer,
    /// The own network. Sums leave it out: its packets also cross an interface with another role, or stay inside.
    Internal,
}

impl Named for Role {
    const ALL: &'static [Self] = &[
        Self::Transit,
        Self::Ix,
        Self::Pni,
        Self::Customer,
        Self::Internal,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Transit => "transit",
            Self::Ix => "ix",
            Self::Pni => "pni",
            Self::Customer => "customer",
            Self::Internal => "internal",
        }
    }
}

serialize_by_name!(Role);

impl FromStr for Role {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::parse(text);
        found.ok_or("no such role")
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Roles of interfaces in the configuration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RoleRule {
    pub interfaces: Vec<Pattern>,
    #[serde(serialize_with = "or_empty")]
    pub role: Option<Role>,
    pub provider: String,
}

fn or_empty<S: serde::Serializer>(role: &Option<Role>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(role.map_or("", Role::name))
}

/// Role and provider of one interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceRole {
    pub role: Option<Role>,
    /// Empty if it is unknown.
    pub provider: String,
}

impl InterfaceRole {
    /// Returns the role of an interface: of the first rules that match and name a role, or a provider, otherwise of the
    /// alias.
    pub fn of(rules: &[RoleRule], name: &str, is_loopback: bool, alias: &str) -> Self {
        let matching = rules.iter().filter(|rule| {
            let mut patterns = rule.interfaces.iter();
            patterns.any(|pattern| pattern.matches(name, is_loopback))
        });
        let role = matching.clone().find_map(|rule| rule.role);
        let mut providers = matching.map(|rule| &rule.provider);
        let provider = providers.find(|provider| !provider.is_empty()).cloned();
        let alias = Self::of_alias(alias);
        Self {
            role: role.or(alias.role),
            provider: provider.unwrap_or(alias.provider),
        }
    }

    /// Parses the first `[role]` or `[role: provider]` in an alias.
    fn of_alias(alias: &str) -> Self {
        let brackets = alias.split('[').skip(1);
        let mut found = brackets.filter_map(|rest| {
            let (inside, _) = rest.split_once(']')?;
            let (role, provider) = inside.split_once(':').unwrap_or((inside, ""));
            Some(Self {
                role: Some(role.trim().to_ascii_lowercase().parse().ok()?),
                provider: provider.trim().to_owned(),
            })
        });
        found.next().unwrap_or_default()
    }

    pub fn role_name(&self) -> &'static str {
        self.role.map_or("", Role::name)
    }

    pub fn is_internal(&self) -> bool {
        self.role == Some(Role::Internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str, role: Option<Role>, provider: &str) -> RoleRule {
        RoleRule {
            interfaces: vec![pattern.parse().unwrap()],
            role,
            provider: provider.into(),
        }
    }

    fn of(rules: &[RoleRule], name: &str, alias: &str) -> (&'static str, String) {
        let role = InterfaceRole::of(rules, name, false, alias);
        (role.role_name(), role.provider)
    }

    #[test]
    fn an_alias_has_a_role_and_a_provider() {
        for (alias, role, provider) in [
            ("[transit: Example Net]", "transit", "Example Net"),
            ("port 7 [IX:DE-CIX] 100G", "ix", "DE-CIX"),
            ("[internal]", "internal", ""),
            ("[rack 4] [pni: Peer: One]", "pni", "Peer: One"),
            ("transit: Example", "", ""),
            ("[transit", "", ""),
            ("[upstream: Example]", "", ""),
            ("", "", ""),
        ] {
            assert_eq!(of(&[], "eth0", alias), (role, provider.into()), "{alias}");
        }
    }

    #[test]
    fn the_configuration_wins_by_value_and_the_first_rule() {
        let rules = [
            rule("eth0", Some(Role::Customer), ""),
            rule("eth.*", Some(Role::Ix), "LAN"),
            rule("wan", None, "Only a name"),
        ];
        let alias = "[transit: Alias]";
        assert_eq!(of(&rules, "eth0", alias), ("customer", "LAN".into()));
        assert_eq!(of(&rules, "eth1", ""), ("ix", "LAN".into()));
        assert_eq!(of(&rules, "wan", alias), ("transit", "Only a name".into()));
        assert_eq!(of(&rules, "lan", alias), ("transit", "Alias".into()));
    }
}
