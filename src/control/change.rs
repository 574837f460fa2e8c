// SPDX-License-Identifier: AGPL-3.0-only
//! The paths that change something.

use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use log::LevelFilter;
use serde::de::DeserializeOwned;

use super::api;
use super::routes::{Refusal, Reply, Routes, json};

impl Routes {
    pub(super) fn set_sample_rate(&self, request: &Request<Bytes>) -> Reply {
        let wanted: api::SampleRate = body(request, "{\"sample_rate\": 100}")?;
        if wanted.sample_rate == 0 {
            let error = "sample_rate: expected a whole number from 1 to 4294967295, got 0";
            return Err(Refusal::bad_request(error));
        }
        self.sources
            .changes
            .set_sample_rate(wanted.sample_rate)
            .map_err(refused)?;
        json(&wanted)
    }

    pub(super) fn set_log_level(&self, request: &Request<Bytes>) -> Reply {
        let wanted: api::LogLevel = body(request, "{\"log_level\": \"info\"}")?;
        let level = wanted.log_level.parse::<LevelFilter>().map_err(|_| {
            Refusal::bad_request(format!(
                "log_level: expected one of off, error, warn, info, debug, trace, got \"{}\"",
                wanted.log_level.escape_debug()
            ))
        })?;
        self.sources.changes.set_log_level(level).map_err(refused)?;
        json(&api::LogLevel {
            log_level: level.as_str().to_ascii_lowercase(),
        })
    }

    pub(super) fn reload(&self, _: &Request<Bytes>) -> Reply {
        json(&self.sources.changes.reload().map_err(refused)?)
    }

    pub(super) fn flush_bmp(&self, request: &Request<Bytes>) -> Reply {
        let wanted: api::Flush = body(request, "{\"router\": \"...\"}")?;
        let bgp = self.sources.bgp.as_ref();
        let sessions = bgp.and_then(|bgp| bgp.flush(&wanted.router));
        let Some(sessions) = sessions else {
            let router = wanted.router.escape_debug();
            let error = format!("no BMP router is called \"{router}\"");
            return Err(Refusal::new(StatusCode::NOT_FOUND, error));
        };
        json(&api::Flushed { sessions })
    }
}

/// The request as `T`; `example` shows how it looks.
pub(super) fn body<T: DeserializeOwned>(
    request: &Request<Bytes>,
    example: &str,
) -> Result<T, Refusal> {
    serde_json::from_slice(request.body()).map_err(|error| {
        let error = format!("the body: expected JSON such as {example}: {error}");
        Refusal::bad_request(error)
    })
}

/// The agent could do it, and did not: what is in force stays.
fn refused(error: String) -> Refusal {
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error)
}
