// SPDX-License-Identifier: AGPL-3.0-only
//! The GET paths, which only read.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use hyper::body::Bytes;
use hyper::{Request, Response, StatusCode};

use super::params::{self, FlowQuery, Params, prefix};
use super::routes::{ControlRoutes, Reply, RequestError, json, later_json};
use super::{api, asn_names, bill, flows, history, paths, rfc3339, status, what_if};
use crate::flow::paths::PathSnapshot;
use crate::flow::query::{Question, Scan};
use crate::flow::snapshot::Snapshot;
use crate::flow::thread::{self, AskError, Request as Ask};
use crate::http::respond;
use crate::netlink::stacked_interfaces;
use crate::store::reader::HistoryReader;
use crate::sys::clock::Clock;
use crate::types::address_detail::AddressDetail;

/// Thread flow answers between two batches; without an answer in this time it is stuck.
const TIMEOUT: Duration = Duration::from_secs(5);

impl ControlRoutes {
    pub(super) fn status(&self, request: &Request<Bytes>) -> Reply {
        Params::parse(request.uri().query())
            .and_then(Params::finish)
            .map_err(RequestError::bad_request)?;
        let flows = self.totals()?;
        let mut status = self.sources.scrape.gather(&flows, |input, links| {
            status::status(&self.sources, input, links)
        });
        self.fill_rates(&mut status.interfaces);
        json(&status)
    }

    pub(super) fn interfaces(&self, request: &Request<Bytes>) -> Reply {
        let mut params = Params::parse(request.uri().query()).map_err(RequestError::bad_request)?;
        let only = params.take("interface");
        params.finish().map_err(RequestError::bad_request)?;
        let mut interfaces = self.all_interfaces();
        self.fill_rates(&mut interfaces);
        if let Some(only) = only {
            interfaces.retain(|interface| interface.name == only);
            if interfaces.is_empty() {
                return Err(unknown_interface(&only));
            }
        }
        json(&interfaces)
    }

    fn all_interfaces(&self) -> Vec<api::InterfaceStatus> {
        let scrape = &self.sources.scrape;
        scrape.gather(&Snapshot::default(), status::interfaces)
    }

    fn fill_rates(&self, interfaces: &mut [api::InterfaceStatus]) {
        self.rates.borrow_mut().fill(interfaces, Instant::now());
    }

    pub(super) fn flows(&self, request: &Request<Bytes>) -> Reply {
        let mut query = params::flows(request.uri().query()).map_err(RequestError::bad_request)?;
        self.resolve(&mut query)?;
        let (rows, matched) = self.scan(query, Question::Flows)?;
        let interfaces = &self.sources.scrape.interfaces;
        let (clock, addresses) = (Clock::new(), self.addresses());
        json(&api::FlowsReply {
            time: rfc3339(SystemTime::now()),
            sample_rate: self.sample_rate(),
            matched,
            flows: rows
                .iter()
                .map(|row| flows::flow(row, interfaces, &clock, addresses))
                .collect(),
        })
    }

    pub(super) fn top(&self, request: &Request<Bytes>) -> Reply {
        let mut query = params::top(request.uri().query()).map_err(RequestError::bad_request)?;
        let left_out = match query.interface {
            Some(_) => Vec::new(),
            None => self.count_once(&mut query),
        };
        self.resolve(&mut query)?;
        let fields = query.by.clone();
        let (sort, limit) = (query.sort, query.limit);
        let addresses = self.addresses();
        let question = |reply| Question::Groups(fields.clone(), addresses, reply);
        let (groups, total) = self.scan(query, question)?;
        let (groups, count, rest) = groups.sorted(sort, limit);
        json(&api::TopReply {
            time: rfc3339(SystemTime::now()),
            sample_rate: self.sample_rate(),
            by: fields.iter().map(|field| field.name().to_owned()).collect(),
            groups: count,
            total: flows::sum(&total),
            rest: flows::sum(&rest),
            left_out,
            top: groups
                .iter()
                .map(|group| flows::group(group, &fields))
                .collect(),
        })
    }

    /// Leaves out the interfaces whose packets another monitored interface counts, and returns their names.
    fn count_once(&self, query: &mut FlowQuery) -> Vec<String> {
        let links = self.sources.scrape.links();
        let watched = self.sources.scrape.interfaces.monitored();
        let watched: HashMap<u32, _> = watched.into_iter().map(|w| (w.ifindex, w)).collect();
        let there = || {
            links
                .iter()
                .filter(|link| watched.contains_key(&link.ifindex))
        };
        let (upper, base): (Vec<_>, Vec<_>) =
            there().partition(|link| stacked_interfaces::stacked_on(link, there()).is_some());
        if upper.is_empty() {
            return Vec::new();
        }
        query.filter.interfaces = Some(base.iter().map(|link| link.ifindex).collect());
        upper.iter().map(|link| link.name.clone()).collect()
    }

    /// Replaces the interface name of the query by interface numbers.
    fn resolve(&self, query: &mut FlowQuery) -> Result<(), RequestError> {
        let Some(name) = &query.interface else {
            return Ok(());
        };
        let watched = self.sources.scrape.interfaces.monitored();
        let found = watched.iter().filter(|w| *w.name == **name);
        let numbers: Vec<u32> = found.map(|w| w.ifindex).collect();
        if numbers.is_empty() {
            return Err(unknown_interface(name));
        }
        query.filter.interfaces = Some(numbers);
        Ok(())
    }

    fn scan<T>(
        &self,
        query: FlowQuery,
        question: impl FnOnce(crossbeam_channel::Sender<T>) -> Question,
    ) -> Result<T, RequestError> {
        let ask = |reply| {
            let scan = Scan::new(question(reply), query.filter, query.sort, query.limit);
            Ask::Scan(Box::new(scan))
        };
        thread::ask(&self.sources.scrape.flows, TIMEOUT, ask).map_err(no_answer)
    }

    fn totals(&self) -> Result<Snapshot, RequestError> {
        let totals = thread::ask(&self.sources.scrape.flows, TIMEOUT, Ask::Totals);
        Ok(Snapshot {
            totals: totals.map_err(no_answer)?,
            ..Snapshot::default()
        })
    }

    pub(super) fn paths(&self, request: &Request<Bytes>) -> Reply {
        let query = params::paths(request.uri().query()).map_err(RequestError::bad_request)?;
        let snapshot = self.path_snapshot()?;
        let mut answer = paths::paths(&snapshot, query.filter, query.limit, query.history);
        asn_names::add(&mut answer, &self.sources.scrape.databases);
        json(&answer)
    }

    pub(super) fn what_if(&self, request: &Request<Bytes>) -> Reply {
        let asn = params::what_if(request.uri().query()).map_err(RequestError::bad_request)?;
        let mut answer = what_if::what_if(&self.path_snapshot()?, asn);
        asn_names::add(&mut answer, &self.sources.scrape.databases);
        json(&answer)
    }

    fn path_snapshot(&self) -> Result<PathSnapshot, RequestError> {
        let snapshot = thread::ask(&self.sources.scrape.flows, TIMEOUT, Ask::Paths);
        snapshot.map_err(no_answer)?.ok_or_else(|| {
            let error =
                "AS paths are not counted: set agent.collector.paths = true, and restart rfm";
            RequestError::new(StatusCode::NOT_FOUND, error)
        })
    }

    pub(super) fn history(&self, request: &Request<Bytes>) -> Reply {
        let query = history::query(request.uri().query(), unix_now());
        let query = query.map_err(RequestError::bad_request)?;
        let (addresses, databases) = (self.addresses(), self.sources.scrape.databases.clone());
        self.read_history(move |reader| {
            let mut answer = history::history(reader, &query, addresses);
            asn_names::add(&mut answer, &databases);
            later_json(&answer)
        })
    }

    pub(super) fn bill(&self, request: &Request<Bytes>) -> Reply {
        let query = bill::query(request.uri().query(), unix_now());
        let query = query.map_err(RequestError::bad_request)?;
        let billed = self.billed();
        self.read_history(move |reader| later_json(&bill::bill(reader, &query, &billed)))
    }

    pub(super) fn bill_samples(&self, request: &Request<Bytes>) -> Reply {
        let query = bill::query(request.uri().query(), unix_now());
        let query = query.map_err(RequestError::bad_request)?;
        let billed = self.billed();
        self.read_history(move |reader| later_json(&bill::samples(reader, &query, &billed)))
    }

    /// Lets thread history-read make the reply: other clients do not wait for the files.
    fn read_history(
        &self,
        make: impl FnOnce(&HistoryReader) -> Response<Bytes> + Send + 'static,
    ) -> Reply {
        let Some(history) = &self.sources.history else {
            let error = "there is no history: set agent.history.path, and restart rfm";
            return Err(RequestError::new(StatusCode::NOT_FOUND, error));
        };
        let reader = history.reader.clone();
        let later = history
            .deferrer
            .defer(move |heartbeat| make(&reader.with_heartbeat(heartbeat)));
        later.ok_or_else(|| {
            let error = "too many queries of the history wait: try again";
            RequestError::new(StatusCode::SERVICE_UNAVAILABLE, error)
        })
    }

    /// Returns the names of the prefixes with `bill = true`.
    fn billed(&self) -> Vec<String> {
        let config = (self.sources.in_force)().config;
        let prefixes = config.agent.enrich.prefix.iter();
        let mut names: Vec<_> = prefixes
            .filter(|p| p.bill)
            .map(|p| p.name.clone())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    pub(super) fn rib(&self, request: &Request<Bytes>) -> Reply {
        let mut params = Params::parse(request.uri().query()).map_err(RequestError::bad_request)?;
        let query = params
            .read(
                "address",
                "an address or a prefix without host bits",
                prefix,
            )
            .map_err(RequestError::bad_request)?;
        let vrf = params.take("vrf");
        params.finish().map_err(RequestError::bad_request)?;
        let query = query.ok_or_else(|| {
            RequestError::bad_request("address: missing; give one, such as 192.0.2.1")
        })?;
        let Some(bgp) = &self.sources.bgp else {
            return Err(RequestError::new(
                StatusCode::NOT_FOUND,
                "there is no routing table: agent.enrich.rib.bmp is not set (see docs/bgp.md)",
            ));
        };
        let answer = bgp.explain(query, vrf.as_deref());
        let mut answer = answer.ok_or_else(unknown_vrf)?;
        asn_names::add(&mut answer, &self.sources.scrape.databases);
        json(&answer)
    }

    pub(super) fn lookup(&self, request: &Request<Bytes>) -> Reply {
        let mut params = Params::parse(request.uri().query()).map_err(RequestError::bad_request)?;
        let address = params
            .read("address", "an IP address", |text| {
                text.parse::<IpAddr>().ok()
            })
            .map_err(RequestError::bad_request)?;
        let vrf = params.take("vrf");
        params.finish().map_err(RequestError::bad_request)?;
        let address = address.ok_or_else(|| {
            RequestError::bad_request("address: missing; give one, such as 192.0.2.1")
        })?;
        let answer = self.sources.lookup.lookup(address, vrf.as_deref());
        json(&answer.ok_or_else(unknown_vrf)?)
    }

    pub(super) fn config(&self, request: &Request<Bytes>) -> Reply {
        let mut params = Params::parse(request.uri().query()).map_err(RequestError::bad_request)?;
        let as_toml = params
            .read("format", "json or toml", |text| match text {
                "toml" => Some(true),
                "json" => Some(false),
                _ => None,
            })
            .map_err(RequestError::bad_request)?;
        params.finish().map_err(RequestError::bad_request)?;
        let config = (self.sources.in_force)().config;
        match as_toml {
            Some(true) => {
                let text = config.to_string();
                Ok(respond::content(StatusCode::OK, "application/toml", text).into())
            }
            _ => json(&config.to_table().map_err(|error| {
                RequestError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            })?),
        }
    }

    pub(super) fn addresses(&self) -> AddressDetail {
        (self.sources.in_force)().config.agent.privacy.addresses
    }

    fn sample_rate(&self) -> u32 {
        (self.sources.in_force)().config.agent.bpf.sample_rate
    }
}

fn no_answer(why: AskError) -> RequestError {
    let error = match why {
        AskError::Late => {
            "the flow table did not answer in time: the agent is overloaded; try again"
        }
        AskError::Refused => "too many requests about flows wait: try again",
    };
    RequestError::new(StatusCode::SERVICE_UNAVAILABLE, error)
}

fn unknown_vrf() -> RequestError {
    RequestError::new(
        StatusCode::NOT_FOUND,
        "no such VRF: agent.enrich.rib.vrf names those that have a table",
    )
}

fn unknown_interface(name: &str) -> RequestError {
    let error = format!(
        "no monitored interface is called {} (see: rfm status)",
        name.escape_debug()
    );
    RequestError::new(StatusCode::NOT_FOUND, error)
}

fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs()
}
