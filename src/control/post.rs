// SPDX-License-Identifier: AGPL-3.0-only
//! The POST paths, which change something.

use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use log::LevelFilter;
use serde::de::DeserializeOwned;

use super::api;
use super::routes::{ControlRoutes, Reply, RequestError, json};

impl ControlRoutes {
    pub(super) fn set_sample_rate(&self, request: &Request<Bytes>) -> Reply {
        let wanted: api::SampleRate = body(request, "{\"sample_rate\": 100}")?;
        if wanted.sample_rate == 0 {
            let error = "sample_rate: expected a whole number from 1 to 4294967295, got 0";
            return Err(RequestError::bad_request(error));
        }
        self.sources
            .commands
            .set_sample_rate(wanted.sample_rate)
            .map_err(refused)?;
        json(&wanted)
    }

    pub(super) fn set_log_level(&self, request: &Request<Bytes>) -> Reply {
        let wanted: api::LogLevel = body(request, "{\"log_level\": \"info\"}")?;
        let level = wanted.log_level.parse::<LevelFilter>().map_err(|_| {
            RequestError::bad_request(format!(
                "log_level: expected one of off, error, warn, info, debug, trace, got \"{}\"",
                wanted.log_level.escape_debug()
            ))
        })?;
        self.sources
            .commands
            .set_log_level(level)
            .map_err(refused)?;
        json(&api::LogLevel {
            log_level: level.as_str().to_ascii_lowercase(),
        })
    }

    pub(super) fn reload(&self, _: &Request<Bytes>) -> Reply {
        json(&self.sources.commands.reload().map_err(refused)?)
    }

    pub(super) fn flush_bmp(&self, request: &Request<Bytes>) -> Reply {
        let wanted: api::BmpFlush = body(request, "{\"router\": \"...\"}")?;
        let bgp = self.sources.bgp.as_ref();
        let sessions = bgp.and_then(|bgp| bgp.flush(&wanted.router));
        let Some(sessions) = sessions else {
            let router = wanted.router.escape_debug();
            let error = format!("no BMP router is called \"{router}\"");
            return Err(RequestError::new(StatusCode::NOT_FOUND, error));
        };
        json(&api::BmpFlushed { sessions })
    }
}

/// Parses the request body as `T`; `example` shows a valid body in the error.
pub(super) fn body<T: DeserializeOwned>(
    request: &Request<Bytes>,
    example: &str,
) -> Result<T, RequestError> {
    serde_json::from_slice(request.body()).map_err(|error| {
        let error = format!("the body: expected JSON such as {example}: {error}");
        RequestError::bad_request(error)
    })
}

/// Returns the error of a valid request that the agent did not apply: the current values stay.
fn refused(error: String) -> RequestError {
    RequestError::new(StatusCode::UNPROCESSABLE_ENTITY, error)
}
