// SPDX-License-Identifier: AGPL-3.0-only
//! The state with which the view starts, from the options of the command (pure).

use super::model::{Model, SortKey};
use super::tab::Tab;
use crate::flow::query::MAX_LIMIT;

/// The options of `rfm top` that the live view accepts.
#[derive(Debug, Default)]
pub struct TopPresets {
    /// Names and values of the parameters that select flows.
    pub selection: Vec<(&'static str, String)>,
    pub sort: Option<String>,
    pub by: Option<String>,
    pub limit: Option<String>,
}

impl TopPresets {
    /// Returns the view of the options. The agent checks the filter and the fields.
    pub fn model(self) -> Result<Model, String> {
        let mut model = Model::default();
        if let Some(sort) = self.sort {
            let known = SortKey::ALL.into_iter().find(|key| key.name() == sort);
            model.sort = known.ok_or_else(|| {
                format!(
                    "--sort: expected bytes, packets or rate, got \"{}\"",
                    sort.escape_debug()
                )
            })?;
        }
        if let Some(limit) = self.limit {
            let known = limit.parse().ok().filter(|n| (1..=MAX_LIMIT).contains(n));
            model.limit = known.ok_or_else(|| {
                let limit = limit.escape_debug();
                format!("--limit: expected a number from 1 to {MAX_LIMIT}, got \"{limit}\"")
            })?;
        }
        if let Some(by) = self.by {
            model.by = by.split(',').map(|field| field.trim().to_owned()).collect();
            let one = match &model.by[..] {
                [field] => Tab::ALL.into_iter().find(|tab| tab.field() == Some(field)),
                _ => None,
            };
            model.tab = one.unwrap_or(Tab::Fields);
            if one.is_some() {
                model.by.clear();
            }
        }
        let words = self.selection.iter();
        let words = words.map(|(name, value)| format!("{name}={value}"));
        model.filter = words.collect::<Vec<_>>().join(" ");
        Ok(model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_filter_tab_and_order() {
        let presets = TopPresets {
            selection: vec![
                ("interface", "eth0".into()),
                ("direction", "ingress".into()),
            ],
            sort: Some("packets".into()),
            by: Some("src_asn".into()),
            limit: Some("50".into()),
        };
        let model = presets.model().unwrap();
        assert_eq!((model.tab, model.sort), (Tab::SrcAsn, SortKey::Packets));
        let asked = model.request().list.unwrap();
        assert_eq!(
            asked,
            "/v1/top?limit=50&by=direction,src_asn&sort=packets&interface=eth0&direction=ingress"
        );
        let presets = TopPresets {
            by: Some("src,dst,src_port,dst_port".into()),
            ..TopPresets::default()
        };
        let model = presets.model().unwrap();
        assert_eq!(model.tab, Tab::Fields);
        assert!(
            model.counts_twice(),
            "four fields leave no room for the direction"
        );
        let wrong = TopPresets {
            sort: Some("last".into()),
            ..TopPresets::default()
        };
        assert!(wrong.model().is_err());
    }
}
