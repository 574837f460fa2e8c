// SPDX-License-Identifier: AGPL-3.0-only
//! Whose traffic it is: sources that turn an address into networks and places.

pub mod bmp;
pub mod rib;
