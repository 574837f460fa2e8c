// SPDX-License-Identifier: AGPL-3.0-only
//! Routers as they are: FRR, GoBGP and BIRD of Debian's packages speak BMP to the agent, two BGP peers
//! speak to them, and packets cross the machine meanwhile.

#[path = "../common/mod.rs"]
mod common;

mod bird;
mod blackhole;
mod communities;
mod daemon;
#[allow(dead_code)]
#[path = "../bmp/data.rs"]
mod data;
mod failover;
mod frr;
mod gobgp;
mod link_local;
mod mrt;
mod origins;
mod own_as;
mod own_routes;
mod paths;
mod readme;
mod recorded;
mod speaker;
mod topology;
