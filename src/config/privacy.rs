// SPDX-License-Identifier: AGPL-3.0-only
//! `[agent.privacy]`: how much of the hosts rfm shows.

use super::reference::ReloadClass::Applied;
use super::section::section;
use super::values::named;
use crate::types::address_detail::AddressDetail;

section! {
    pub struct Privacy() {
        addresses: AddressDetail = key {
            reload: Applied,
            type: named(),
            default: AddressDetail::Full,
            text: "Addresses of hosts on the page, in its history, and in rfm top and rfm flows: \"full\", \"prefix\" (/24 and \
                   /48) or \"none\".",
            details: "IPFIX export, firewall rules, BGP neighbors and routes are not changed by it.",
        }
    }
}
